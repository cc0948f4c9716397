"""All pipelines of the deployment, by name: what the sweeper finishes for the functions that own them."""

import clickstream.topology
import deployment
import landing.topology
import logs.topology
from headrace.pipeline import Pipeline
from headrace.settings import Settings
from logs.minute_metrics import MinuteMetrics


def pipelines(settings: Settings) -> dict[str, Pipeline]:
    """Pipelines like those of the functions, on the same stores."""
    clicks = clickstream.topology.topology(settings)
    topologies_of = {
        clickstream.topology.NAME: lambda _topic: clicks,
        logs.topology.NAME: logs.topology.topologies(settings),
        landing.topology.NAME: landing.topology.topologies(settings),
    }
    on_commit = {logs.topology.NAME: MinuteMetrics(logs.topology.SERVICE_MINUTES.table)}
    return {
        name: deployment.pipeline(name, topology_of, settings, keeps_state=False, on_commit=on_commit.get(name))
        for name, topology_of in topologies_of.items()
    }
