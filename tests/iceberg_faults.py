"""Iceberg tables whose catalog, storage and lake die at a chosen call: every call before its effect, and after."""

from pathlib import Path

from faults import Calls
from iceberg_world import World
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO

from headrace_iceberg.tables import Tables


class InterruptedCatalog(SqlCatalog):
    """A catalog behind `Calls`."""

    calls = Calls()

    def load_table(self, identifier):
        return self.calls.around("load table", lambda: super(InterruptedCatalog, self).load_table(identifier))

    def create_table(self, *args, **kwargs):
        return self.calls.around("create table", lambda: super(InterruptedCatalog, self).create_table(*args, **kwargs))

    def commit_table(self, *args, **kwargs):
        return self.calls.around("commit table", lambda: super(InterruptedCatalog, self).commit_table(*args, **kwargs))


class InterruptedIO(PyArrowFileIO):
    """Storage behind the catalog's `Calls`: each file that is written or deleted is a point."""

    def new_output(self, location):
        output = super().new_output(location)
        create = output.create

        def put(overwrite: bool = False):  # noqa: ARG001 - pyiceberg's own signature
            # A request that the client repeats puts its own object there again.
            return _calls().around("write", lambda: create(overwrite=True))

        output.create = put
        return output

    def delete(self, location):
        _calls().around("delete", lambda: super(InterruptedIO, self).delete(location))


class InterruptedObjects:
    """The lake behind `Calls`."""

    def __init__(self, inner, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    def keys(self, prefix, **options):
        return iter(self._calls.around("list", lambda: list(self._inner.keys(prefix, **options))))

    def below(self, prefix):
        return self._calls.around("list folders", lambda: self._inner.below(prefix))

    def delete(self, keys):
        for key in keys:
            self._calls.around("delete object", lambda key=key: self._inner.delete([key]))


class InterruptedWorld(World):
    """A world in which every process may die; its landing goes on undisturbed."""

    def __init__(self, root: Path, calls: Calls) -> None:
        self.calls = calls
        super().__init__(root)
        self.shaky_objects = InterruptedObjects(self.objects, calls)

    def open_tables(self, root: Path) -> Tables:
        InterruptedCatalog.calls = self.calls
        io = f"{__name__}.{InterruptedIO.__name__}"
        catalog = InterruptedCatalog("headrace", uri=f"sqlite:///{root}/iceberg.db", **{"py-io-impl": io})
        return Tables(catalog, "headrace", self.lake)

    def committer(self, **options):
        return super().committer(objects=self.shaky_objects, **options)


def _calls() -> Calls:
    return InterruptedCatalog.calls
