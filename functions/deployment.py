"""Wires a function's pipeline to the stores of its deployment."""

import gc
import os
from collections.abc import Callable, Sequence

import stores
from headrace.lake import Rows
from headrace.pipeline import Pipeline
from headrace.settings import Settings
from headrace.topology import Topology


def settings() -> Settings:
    """The function's environment, checked.

    Raises:
        ConfigurationError: names each variable that is wrong, and its value.
    """
    return Settings.from_environment(os.environ)


ROWS_PER_MB = 750
"""Rows of open windows that may stay in memory per MB of the function's: a row of few columns takes some 400 bytes,
and the rest is for the batch, its files, and a state that is being loaded or written as a whole."""
DEFAULT_MEMORY_MB = 1024


def pipeline(
    name: str,
    topology_of: Callable[[str], Topology],
    config: Settings,
    *,
    keeps_state: bool = True,
    on_commit: Callable[[Sequence[Rows]], None] | None = None,
) -> Pipeline:
    """One pipeline on the deployment's stores.

    Args:
        name: of the pipeline.
        topology_of: what to compute from a topic.
        config: of the deployment.
        keeps_state: whether it gets the same partitions again and again, so that keeping their state in memory pays.
        on_commit: is shown the rows that a commit made final.
    """
    wired = Pipeline(
        name,
        topology_of,
        stores.checkpoint_store(config),
        stores.outbox(config),
        application=config.application,
        generation=config.generation,
        gaps=config.gaps,
        warm_rows=_warm_rows(config) if keeps_state else 0,
        on_commit=on_commit,
    )
    # What is loaded by now, clients included, lives as long as the process, and a batch makes tens of thousands of
    # objects and no cycles: collecting as often as the interpreter does by default costs a good part of its time.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    return wired


def _warm_rows(config: Settings) -> int:
    if config.warm_rows is not None:
        return config.warm_rows
    return ROWS_PER_MB * int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", DEFAULT_MEMORY_MB))
