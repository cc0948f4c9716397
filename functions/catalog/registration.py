"""Wires the registrar to the deployment's lake and database."""

from headrace.errors import ConfigurationError
from headrace.glue import GlueCatalog
from headrace.objects import open_lake
from headrace.registrar import Registrar
from headrace.settings import Settings


def registrar(settings: Settings) -> Registrar | None:
    """The registrar of a lake on S3; None in a dry run, whose lake nobody else can read.

    Raises:
        ConfigurationError: the lake is a folder, or no database is named.
    """
    if settings.dry_run:
        return None
    if not settings.lake.startswith("s3://"):
        raise ConfigurationError(f"HEADRACE_LAKE={settings.lake!r}: a catalog's tables are at s3://BUCKET[/PREFIX]")
    if not settings.catalog:
        raise ConfigurationError("HEADRACE_CATALOG is not set: it names the Glue database of the lake's tables")
    return Registrar(open_lake(settings.lake), GlueCatalog(settings.catalog), settings.lake)
