"""How records of a writer's schema lie in bytes, said so that fastavro makes what the wanted schema's reader expects.

Which written field becomes which wanted one is decided here, once, and costs nothing per record: Avro's bytes hold no
names, so the writer's schema is handed to fastavro with the reader's names in it. A record of one field lies in bytes
as that field does, so every branch of a union is handed over as such a record, and comes back saying which it was.
Logical types are left out: values keep times as numbers, and an object for each would cost as much as the rest.
"""

from typing import Any

import msgspec

from headrace.avro_types import (
    ArrayType,
    AvroType,
    Branch,
    Decimal,
    Enum,
    Fixed,
    MapType,
    Nullable,
    RecordType,
    Scalar,
    Union,
    described,
)
from headrace.errors import SchemaError
from headrace.evolution import readable, source_of

_UUID_BYTES = 16


def layout(written: RecordType, wanted: RecordType) -> dict[str, Any]:
    """The writer's schema for fastavro, with the wanted record's names.

    Raises:
        SchemaError: a field cannot be read from what the writer writes.
    """
    return _Layout().record(written, wanted, "")


class _Layout:
    def __init__(self) -> None:
        self._names = 0

    def _name(self) -> str:
        """A name of its own for each: one type of the writer's may lie behind several of the reader's."""
        self._names += 1
        return f"t{self._names}"

    def record(self, written: RecordType, wanted: RecordType, path: str) -> dict[str, Any]:
        """A record, its fields in the writer's order."""
        targets = {}
        for field in wanted.fields:
            source = source_of(field, written)
            if source is not None:
                targets[source.name] = field
            elif field.default is msgspec.UNSET:
                raise SchemaError(f"field {_at(path, field.name)!r} is not in the writer's schema and has no default")
        fields = []
        unread = "_" * (1 + max(len(field.name) for field in wanted.fields))  # longer than any name that is wanted
        for number, source in enumerate(written.fields):
            if (target := targets.get(source.name)) is None:
                fields.append({"name": f"{unread}{number}", "type": self._as_written(source.of)})
            else:
                at = _at(path, target.name)
                fields.append({"name": target.name, "type": self._resolved(source.of, target.of, at)})
        return {"type": "record", "name": self._name(), "fields": fields}

    def _resolved(self, written: AvroType, wanted: AvroType, path: str) -> Any:  # noqa: PLR0911 - a case per type
        match written, wanted:
            case Nullable(), _:
                # Null for a wanted field that must not be is that record's fault, not the schema's.
                inner = wanted.of if isinstance(wanted, Nullable) else wanted
                return _with_null(self._resolved(written.of, inner, path), written.null_at)
            case _, Nullable():
                return self._resolved(written, wanted.of, path)
            case Union(), _:
                return self._from_union(written, wanted, path)
            case _, Union():
                return self._to_union(written, wanted, path)
            case ArrayType(), ArrayType():
                return {"type": "array", "items": self._resolved(written.items, wanted.items, f"{path}[]")}
            case MapType(), MapType():
                return {"type": "map", "values": self._resolved(written.values, wanted.values, f"{path}{{}}")}
            case RecordType(), RecordType():
                return self.record(written, wanted, path)
            case Enum(), Enum():
                return self._as_written(written)
        if not readable(written, wanted):
            raise SchemaError(f"field {path!r} is {described(wanted)}: it cannot be read from {described(written)}")
        return self._as_written(written)

    def _from_union(self, written: Union, wanted: AvroType, path: str) -> list[Any]:
        """Branches that the reader has no place for come back as records that it cannot read."""
        branches: list[Any] = []
        problems = []
        for branch in written.branches:
            try:
                branches.append(self._resolved(branch.of, wanted, path))
            except SchemaError as error:
                problems.append(error)
                branches.append(self._wrapped("_", self._as_written(branch.of)))
        if len(problems) == len(branches):
            raise problems[0]
        return branches

    def _to_union(self, written: AvroType, wanted: Union, path: str) -> Any:
        def strangeness(branch: Branch) -> int:
            return 0 if branch.of == written else 1 if described(branch.of) == described(written) else 2

        for branch in sorted(wanted.branches, key=strangeness):
            try:
                return self._wrapped(branch.member, self._resolved(written, branch.of, path))
            except SchemaError:
                continue
        raise SchemaError(f"field {path!r} is {described(wanted)}: it cannot be read from {described(written)}")

    def _wrapped(self, member: str, inner: Any) -> dict[str, Any]:
        return {"type": "record", "name": self._name(), "fields": [{"name": member, "type": inner}]}

    def _as_written(self, of: AvroType) -> Any:  # noqa: PLR0911 - a case per type
        match of:
            case Nullable():
                return _with_null(self._as_written(of.of), of.null_at)
            case Union():
                return [self._wrapped(branch.member, self._as_written(branch.of)) for branch in of.branches]
            case ArrayType():
                return {"type": "array", "items": self._as_written(of.items)}
            case MapType():
                return {"type": "map", "values": self._as_written(of.values)}
            case RecordType():
                fields = [{"name": field.name, "type": self._as_written(field.of)} for field in of.fields]
                return {"type": "record", "name": self._name(), "fields": fields}
            case Enum():
                return {"type": "enum", "name": self._name(), "symbols": list(of.symbols)}
            case Fixed() | Decimal():
                return "bytes" if of.size is None else self._fixed(of.size)
            case Scalar():
                return self._fixed(_UUID_BYTES) if of.base == "fixed" else of.base

    def _fixed(self, size: int) -> dict[str, Any]:
        return {"type": "fixed", "name": self._name(), "size": size}


def _with_null(of: Any, null_at: int) -> list[Any]:
    branches = list(of) if isinstance(of, list) else [of]
    branches.insert(null_at, "null")
    return branches


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
