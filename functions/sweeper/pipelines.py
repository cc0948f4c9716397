"""All pipelines of the deployment, by name: what the sweeper finishes for the functions that own them."""

import clickstream.topology
import deployment
import landing.topology
import logs.topology
from headrace.pipeline import Pipeline
from headrace.settings import Settings


def pipelines(settings: Settings) -> dict[str, Pipeline]:
    """Pipelines like those of the functions, on the same stores."""
    clicks = clickstream.topology.topology(settings)
    topologies_of = {
        clickstream.topology.NAME: lambda _topic: clicks,
        logs.topology.NAME: logs.topology.topologies(settings),
        landing.topology.NAME: landing.topology.topologies(settings),
    }
    return {
        name: deployment.pipeline(name, topology_of, settings, keeps_state=False)
        for name, topology_of in topologies_of.items()
    }
