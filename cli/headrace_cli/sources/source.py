"""Records from a file or standard input: NDJSON, CSV with a header, or plain lines; gzip or not.

Streaming: memory holds one line and, to tell the format and the fields, the first `SAMPLE_LINES` lines. Only
`--order-by` reads everything before the first record comes out (in memory: about the size of the payloads
plus 250 bytes a record). Records that have nothing to be ordered by come last.

What cannot be read as asked is never dropped: it is passed through for the consumers to judge, and counted.
A line of NDJSON that is no JSON object, or a CSV row with more cells than the header, goes through unchanged;
a time or a number that is none stays as it was. Blank lines are no records.
"""

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import msgspec

from headrace_cli.errors import CommandError, OptionError
from headrace_cli.sources.dialects import recognise
from headrace_cli.sources.fields import LAST, FieldMapper, FieldOptions, OrderKey
from headrace_cli.sources.lines import MAX_LINE_BYTES, LineReader

Format = Literal["ndjson", "csv", "lines"]
FORMATS: tuple[Format, ...] = ("ndjson", "csv", "lines")
AUTO = "auto"
"""The format is told from the name and the first lines."""
SAMPLE_LINES = 1000

_UTF8_BOM = b"\xef\xbb\xbf"
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .-]*")


class SourceRecord(NamedTuple):
    """A record that is to be produced."""

    key: bytes | None
    value: bytes | None
    """The payload; None for a tombstone, which no file has."""
    time_ms: int | None = None
    """The record's own event time, epoch milliseconds, if the input was asked for one."""
    headers: tuple[tuple[str, bytes | None], ...] = ()
    sent_ms: int | None = None
    """Kafka's timestamp, epoch milliseconds, if it is not to be the moment of sending."""


_Ordered = tuple[OrderKey, SourceRecord]
_Read = Callable[[Iterable[bytes]], Iterator[_Ordered]]


class Source:
    """The records of one input; iterate once, use as a context."""

    format: Format
    """What the input is."""
    dialect: str | None = None
    """The known dialect that gave the field options their defaults."""

    def __init__(
        self,
        path: str,
        options: FieldOptions | None = None,
        *,
        source_format: str = AUTO,
        stdin: io.BufferedReader | None = None,
    ) -> None:
        """Open the input and look at its first lines.

        Args:
            path: a file, or `-` for standard input.
            options: what to do with fields; over the defaults of a known dialect.
            source_format: one of `FORMATS`, or `AUTO`.
            stdin: what `-` means.

        Raises:
            OSError: the file cannot be opened.
            OptionError: an option does not fit the input.
            CommandError: the input is damaged.
        """
        self.records = 0
        """Records given out so far."""
        self.passed_through = 0
        """Records of which something could not be read as asked, so far."""
        self._options = options or FieldOptions()
        self._sorted_records: int | None = None
        self._reader = LineReader(path, stdin)
        try:
            self._open(source_format)
        except BaseException:
            self._reader.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def fraction(self) -> float | None:
        """How much is done, 0 to 1, for a progress bar; None if nobody can know."""
        if self._sorted_records:
            return self.records / self._sorted_records
        return self._reader.fraction()

    def __iter__(self) -> Iterator[SourceRecord]:
        for _, record in self._in_order():
            self.records += 1
            yield record

    def _in_order(self) -> Iterable[_Ordered]:
        ordered = self._read(self._lines)
        if self._options.order_by is None:
            return ordered
        everything = sorted(ordered, key=itemgetter(0))
        self._sorted_records = len(everything)
        return everything

    def _open(self, source_format: str) -> None:
        lines = iter(self._reader)
        needs_sample = source_format in (AUTO, "csv") or self._options != FieldOptions()
        sample = list(itertools.islice(lines, SAMPLE_LINES)) if needs_sample else []
        if sample:
            sample[0] = sample[0].removeprefix(_UTF8_BOM)
        self._lines = itertools.chain(sample, lines)
        self.format = _detect(self._reader.name, sample) if source_format == AUTO else _checked(source_format)
        self._read: _Read = getattr(self, f"_open_{self.format}")(sample)

    def _open_lines(self, sample: list[bytes]) -> _Read:
        del sample
        if self._options != FieldOptions():
            raise OptionError(
                f"{self._reader.name} is plain lines, which have no fields: "
                "leave out --key, --field, --time-field, --order-by and --number, or say --format"
            )
        return _read_lines

    def _open_ndjson(self, sample: list[bytes]) -> _Read:
        if self._options.numbers:
            raise OptionError("--number is for CSV: JSON says itself what is a number")
        known = {name: None for line in sample for name in _members(line) or ()}
        if known:
            self._options = self._options.resolved(tuple(known))
        return self._read_ndjson

    def _open_csv(self, sample: list[bytes]) -> _Read:
        header = _csv_header(self._reader.name, sample)
        dialect = recognise(header)
        if dialect is not None:
            self.dialect = dialect.name
            self._options = self._options.over(dialect.fields)
        self._options = self._options.resolved(header)
        return self._read_csv

    def _read_ndjson(self, lines: Iterable[bytes]) -> Iterator[_Ordered]:
        mapper = FieldMapper(self._options)
        for line in lines:
            if not line.strip():
                continue
            try:
                mapped = mapper(_decode_members(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.passed_through += 1
                yield LAST, SourceRecord(None, line)
                continue
            self.passed_through += not mapped.clean
            value = line if mapper.changes_nothing else msgspec.json.encode(mapped.fields)
            yield mapped.order, SourceRecord(mapped.key, value, mapped.time_ms)

    def _read_csv(self, lines: Iterable[bytes]) -> Iterator[_Ordered]:
        rows = _csv_rows(self._reader.name, lines)
        header = _names(next(rows))
        mapper = FieldMapper(self._options)
        for row in rows:
            fields = {name: cell for name, cell in zip(header, row, strict=False) if cell}
            if not fields:
                continue
            mapped = mapper(fields)
            value = None if len(row) > len(header) else _encode(mapped.fields)
            self.passed_through += value is None or not mapped.clean
            if value is None:
                yield mapped.order, SourceRecord(mapped.key, _csv_text(row), mapped.time_ms)
            else:
                yield mapped.order, SourceRecord(mapped.key, value, mapped.time_ms)


_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _members(line: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _decode_members(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _read_lines(lines: Iterable[bytes]) -> Iterator[_Ordered]:
    for line in lines:
        if line.strip():
            yield LAST, SourceRecord(None, line)


def _checked(source_format: str) -> Format:
    for known in FORMATS:
        if known == source_format:
            return known
    raise OptionError(f"--format {source_format}: expected {AUTO}, {', '.join(FORMATS)}")


def _detect(name: str, sample: list[bytes]) -> Format:
    lines = [line for line in sample if line.strip()][:20]
    # Mixed logs are JSON lines with other lines between: the consumers read both.
    if 2 * sum(line.lstrip().startswith(b"{") for line in lines) > len(lines):
        return "ndjson"
    if name.removesuffix(".gz").endswith((".ndjson", ".jsonl")):
        return "ndjson"
    is_csv = name.removesuffix(".gz").endswith(".csv") or _looks_like_csv(lines)
    return "csv" if is_csv and lines else "lines"


def _looks_like_csv(lines: list[bytes]) -> bool:
    rows = list(csv.reader(_text(lines)))
    if not rows or len(rows[0]) < 2:  # noqa: PLR2004 - a single column is a plain line
        return False
    named = all(_COLUMN_NAME.fullmatch(cell) for cell in rows[0])
    return named and all(len(row) == len(rows[0]) for row in rows[1:])


def _csv_header(name: str, sample: list[bytes]) -> list[str]:
    header = _names(next(_csv_rows(name, sample), []))
    if not header:
        raise CommandError(f"{name} is empty: a CSV file begins with a line of column names")
    if "" in header or len(set(header)) < len(header):
        raise CommandError(f"{name}: the header must name every column once, it is {','.join(header)}")
    return header


def _names(row: list[str]) -> list[str]:
    return [cell.strip() for cell in row]


def _csv_rows(name: str, lines: Iterable[bytes]) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_LINE_BYTES)  # the module's own 128 KiB is less than one record may have
    reader = csv.reader(line + "\n" for line in _text(lines))
    try:
        yield from (row for row in reader if row)
    except csv.Error as error:
        raise CommandError(f"{name}: line {reader.line_num} is not CSV: {error}") from None


def _text(lines: Iterable[bytes]) -> Iterator[str]:
    # Bytes that are no UTF-8 survive the way through str: the record goes out as it came in.
    return (line.decode("utf-8", "surrogateescape") for line in lines)


def _encode(fields: dict[str, Any]) -> bytes | None:
    try:
        return msgspec.json.encode(fields)
    except UnicodeEncodeError:
        return None


def _csv_text(row: list[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(row)
    return buffer.getvalue().encode("utf-8", "surrogateescape")
