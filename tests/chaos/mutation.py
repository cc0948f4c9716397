"""The library with something left out: its modules are changed as they are imported, in this process only.

That is the switch by which a guard is taken away. It is no part of the library, so nothing else can ever reach it.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import NamedTuple

PACKAGES = ("headrace", "headrace_iceberg")


class Replacement(NamedTuple):
    """Text of a module's source, and what stands in its place."""

    module: str
    """Below `headrace`, or with its package."""
    original: str
    """Occurs exactly once."""
    changed: str

    @property
    def full_name(self) -> str:
        """Of the module."""
        return self.module if self.module.partition(".")[0] in PACKAGES else f"{PACKAGES[0]}.{self.module}"


class OriginalMissing(Exception):
    """The source no longer has the text: the guard's entry has to follow it."""


def install(replacements: Sequence[Replacement]) -> None:
    """Change what will be imported from now on.

    Raises:
        OriginalMissing: a module's source does not have the text exactly once.
        RuntimeError: a module of the library was imported already.
    """
    if imported := sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES):
        raise RuntimeError(f"imported before it could be changed: {', '.join(imported)}")
    by_module: dict[str, list[Replacement]] = {}
    for each in replacements:
        by_module.setdefault(each.full_name, []).append(each)
    sys.meta_path.insert(0, _Finder({name: changed(name, each) for name, each in by_module.items()}))


def changed(name: str, replacements: Sequence[Replacement]) -> str:
    """The module's source with the replacements made.

    Raises:
        OriginalMissing: it does not have the text exactly once.
    """
    package = importlib.util.find_spec(name.partition(".")[0])
    assert package is not None, name
    spec = importlib.machinery.PathFinder.find_spec(name, package.submodule_search_locations)
    assert spec is not None, name
    assert isinstance(spec.loader, importlib.machinery.SourceFileLoader), name
    source = spec.loader.get_source(name)
    assert source is not None, name
    for each in replacements:
        if source.count(each.original) != 1:
            raise OriginalMissing(f"{name} has {source.count(each.original)} times: {each.original!r}")
        source = source.replace(each.original, each.changed)
    return source


class _Finder(MetaPathFinder):
    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._sources:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Loader(fullname, spec.origin, self._sources[fullname])
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile the changed source; no bytecode is read or written."""
        return compile(self._source, self.path, "exec")
