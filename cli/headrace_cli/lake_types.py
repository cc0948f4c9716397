"""Columns of one table in files of different age: their common type, and an old file's column made one of it.

A type is handed around as an empty column of it, because arro3 makes nulls of any type by taking nothing from such a
one, and in no other way.
"""

from arro3.core import Array, DataType, Field, list_array, list_flatten, list_offsets, struct_array, struct_field


def common(known: Array, other: Array) -> Array | None:
    """The type that both widen to, by the rules of `headrace.evolution`; None if there is none."""
    one, two = known.type, other.type
    if one == two:
        return known
    if DataType.is_list(one) and DataType.is_list(two):
        return _common_list(known, other)
    if DataType.is_struct(one) and DataType.is_struct(two):
        return _common_struct(known, other)
    wider = _common_number(one, two)
    return None if wider is None else known.cast(wider)


def _common_number(one: DataType, two: DataType) -> DataType | None:
    if DataType.is_decimal(one) and DataType.is_decimal(two):
        # Their texts differ in precision and scale only: a decimal that holds the other's digits is the common one.
        return next((of for of, other in ((one, two), (two, one)) if _holds(of, other)), None)
    numbers = DataType.is_numeric(one) and DataType.is_numeric(two)
    if not numbers or DataType.is_decimal(one) or DataType.is_decimal(two):
        return None
    return DataType.int64() if DataType.is_integer(one) and DataType.is_integer(two) else DataType.float64()


def _holds(of: DataType, other: DataType) -> bool:
    (precision, scale), (other_precision, other_scale) = _digits(of), _digits(other)
    return scale == other_scale and precision >= other_precision


def _digits(of: DataType) -> tuple[int, int]:
    # arro3 tells them in no other way: arro3.core.DataType<Decimal128(10, 2)>
    precision, scale = repr(of).partition("(")[2].partition(")")[0].split(",")
    return int(precision), int(scale)


def _common_list(known: Array, other: Array) -> Array | None:
    items = common(list_flatten(known), list_flatten(other))
    if items is None:
        return None
    one, two = known.type.value_field, other.type.value_field
    assert one is not None and two is not None  # noqa: PT018, S101 - lists have them
    element = Field(one.name, items.type, nullable=one.nullable or two.nullable)
    return list_array(Array([0], DataType.int32()), items, type=DataType.list(element))


def _common_struct(known: Array, other: Array) -> Array | None:
    ours, theirs = _members(known), _members(other)
    fields, members = [], []
    for name, (field, values) in (theirs | ours).items():
        both = name in ours and name in theirs
        found = common(values, theirs[name][1]) if both else values
        if found is None:
            return None
        nullable = field.nullable or not both or theirs[name][0].nullable
        fields.append(Field(name, found.type, nullable=nullable))
        members.append(found)
    return struct_array(members, fields=fields, type=DataType.struct(fields))


def _members(column: Array) -> dict[str, tuple[Field, Array]]:
    fields = column.type.fields
    return {field.name: (field, struct_field(column, [number])) for number, field in enumerate(fields)}


def converted(column: Array, wanted: Array) -> Array:
    """A column as one of the type that `common` found for it."""
    of = wanted.type
    if column.type == of:
        return column
    if DataType.is_struct(of):
        has = _members(column)
        members = [
            converted(has[name][1], empty) if name in has else nulls(empty, len(column))
            for name, (_, empty) in _members(wanted).items()
        ]
        return struct_array(members, fields=of.fields, type=of, mask=_absent(column))
    if DataType.is_list(of):
        items = converted(list_flatten(column), list_flatten(wanted))
        return list_array(list_offsets(column), items, type=of, mask=_absent(column))
    return column.cast(of)


def nulls(empty: Array, count: int) -> Array:
    """So many nulls of a type."""
    return empty.take(Array([None] * count, DataType.uint32()))


def _absent(column: Array) -> Array:
    return Array([value is None for value in column.to_pylist()], DataType.bool())
