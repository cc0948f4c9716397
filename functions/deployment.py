"""Wires a function's pipeline to the stores of its deployment."""

import gc
import os
from collections.abc import Callable

import stores
from headrace.pipeline import Pipeline
from headrace.settings import Settings
from headrace.topology import Topology


def settings() -> Settings:
    """The function's environment, checked.

    Raises:
        ConfigurationError: names each variable that is wrong, and its value.
    """
    return Settings.from_environment(os.environ)


def pipeline(name: str, topology_of: Callable[[str], Topology], config: Settings) -> Pipeline:
    """One pipeline on the deployment's stores."""
    wired = Pipeline(
        name,
        topology_of,
        stores.checkpoint_store(config),
        stores.outbox(config),
        application=config.application,
        generation=config.generation,
        gaps=config.gaps,
    )
    # What is loaded by now, clients included, lives as long as the process, and a batch makes tens of thousands of
    # objects and no cycles: collecting as often as the interpreter does by default costs a good part of its time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    return wired
