"""Files into records: formats, compression, fields, order, what cannot be read, and wrong options."""

import gzip
import io
import json
from itertools import pairwise

import pytest

from headrace_cli.errors import CommandError, OptionError
from headrace_cli.sources.fields import FieldOptions
from headrace_cli.sources.lines import MAX_LINE_BYTES
from headrace_cli.sources.source import AUTO, Source

NDJSON = b'{"user":"a","at":1}\n{"user":"b","at":2}\n'
CSV = b"user,at\na,1\nb,2\n"
LINES = b"one line\nanother, with a comma\n"
LF_CRLF = (b"\n", b"\r\n")


def read(tmp_path, data, options=None, *, name="input", source_format=AUTO):
    path = tmp_path / name
    path.write_bytes(data)
    with Source(str(path), options, source_format=source_format) as source:
        return list(source), source


def payloads(records):
    return [json.loads(record.value) for record in records]


class TestFormats:
    @pytest.mark.parametrize("newline", LF_CRLF)
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    @pytest.mark.parametrize("given", ["auto", "explicit"])
    @pytest.mark.parametrize("where", ["file", "stdin"])
    @pytest.mark.parametrize(
        ("data", "expected_format", "values"),
        [
            (NDJSON, "ndjson", [b'{"user":"a","at":1}', b'{"user":"b","at":2}']),
            (CSV, "csv", [b'{"user":"a","at":"1"}', b'{"user":"b","at":"2"}']),
            (LINES, "lines", [b"one line", b"another, with a comma"]),
        ],
    )
    def test_every_format_reads_alike_from_everywhere(
        self, tmp_path, *, data, expected_format, values, where, given, compress, newline
    ):
        data = compress(data.replace(b"\n", newline))
        path = tmp_path / "input"
        path.write_bytes(data)
        source_format = AUTO if given == "auto" else expected_format
        with Source(
            "-" if where == "stdin" else str(path),
            source_format=source_format,
            stdin=io.BufferedReader(io.BytesIO(data)),
        ) as source:
            assert [record.value for record in source] == values
        assert source.format == expected_format
        assert (source.records, source.passed_through) == (2, 0)

    @pytest.mark.parametrize(
        ("name", "data", "expected"),
        [
            ("a.csv", b"only_column\n1\n", "csv"),
            ("a.csv.gz", gzip.compress(b"only_column\n1\n", mtime=0), "csv"),
            ("a.jsonl", b"broken\n", "ndjson"),
            ("a.log", b'{"a":1}\n127.0.0.1 - - "GET /"\n{"a":2}\n', "ndjson"),
            ("a.log", b'127.0.0.1 - - "GET /"\n{"a":2}\n10.0.0.1 - -\n', "lines"),
            ("a.log", b"a, b\nc\n", "lines"),
            ("a.txt", b"", "lines"),
        ],
    )
    def test_the_name_and_the_first_lines_tell_the_format(self, tmp_path, name, data, expected):
        assert read(tmp_path, data, name=name)[1].format == expected

    @pytest.mark.parametrize("data", [NDJSON, CSV])
    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path, data):
        records, _ = read(tmp_path, b"\xef\xbb\xbf" + data, FieldOptions(key="user"))
        assert [record.key for record in records] == [b"a", b"b"]

    def test_blank_lines_are_no_records(self, tmp_path):
        assert len(read(tmp_path, b'\n{"a":1}\n\n \n{"a":2}')[0]) == 2
        assert len(read(tmp_path, b"\none\n\n\ntwo")[0]) == 2
        assert len(read(tmp_path, b"\na,b\n\n1,2\n\n", source_format="csv")[0]) == 1

    def test_several_gzip_members_are_one_file(self, tmp_path):
        data = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n')
        assert payloads(read(tmp_path, data)[0]) == [{"a": 1}, {"a": 2}]

    def test_half_a_gzip_file_is_an_error_that_says_so(self, tmp_path):
        data = gzip.compress(b"".join(b'{"a":%d}\n' % n for n in range(50_000)))
        with pytest.raises(CommandError, match="damaged or cut short after line"):
            read(tmp_path, data[: len(data) // 2])

    def test_an_endless_line_is_refused(self, tmp_path):
        with pytest.raises(CommandError, match=f"line 2 is longer than {MAX_LINE_BYTES} bytes"):
            read(tmp_path, b"short\n" + b"x" * (MAX_LINE_BYTES + 1))

    def test_a_file_is_read_as_it_is_needed(self, tmp_path):
        path = tmp_path / "input"
        path.write_bytes(b"".join(b'{"number":%d}\n' % n for n in range(200_000)))
        with Source(str(path)) as source:
            next(iter(source))
            assert source.fraction() < 0.5

    def test_with_a_format_and_no_fields_a_pipe_is_not_read_ahead(self):
        pipe = CountingPipe([b"first\n", b"second\n"])
        with Source("-", source_format="lines", stdin=io.BufferedReader(pipe)) as source:
            assert next(iter(source)).value == b"first"
        assert pipe.reads == 1


class CountingPipe(io.RawIOBase):
    """Gives one chunk per read, as a terminal does."""

    def __init__(self, chunks):
        self.chunks = iter(chunks)
        self.reads = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        chunk = next(self.chunks, b"")
        self.reads += 1
        buffer[: len(chunk)] = chunk
        return len(chunk)


class TestFields:
    def test_json_values_keep_every_digit(self, tmp_path):
        line = b'{"id":123456789012345678901234567890,"price":1.10,"old":[1, {"x": null}]}'
        records, _ = read(tmp_path, line, FieldOptions(renames=(("new", "old"),)))
        assert records[0].value == b'{"id":123456789012345678901234567890,"price":1.10,"new":[1, {"x": null}]}'

    def test_untouched_json_goes_out_byte_for_byte(self, tmp_path):
        line = b'{ "user": "a",  "n": 1.50 }'
        records, _ = read(tmp_path, line, FieldOptions(key="user"))
        assert records[0][:2] == (b"a", line)

    @pytest.mark.parametrize(
        ("literal", "key"),
        [(b'"caf\\u00e9"', "café".encode()), (b"12.50", b"12.50"), (b"null", None), (b"true", b"true"), (b'""', b"")],
    )
    def test_the_key_is_the_text_of_the_field(self, tmp_path, literal, key):
        records, _ = read(tmp_path, b'{"k":%s}\n{"k":"x"}' % literal, FieldOptions(key="k"))
        assert records[0].key == key

    def test_a_record_without_the_key_field_has_no_key(self, tmp_path):
        records, _ = read(tmp_path, b'{"k":"x"}\n{"other":1}', FieldOptions(key="k"))
        assert [record.key for record in records] == [b"x", None]

    def test_one_field_feeds_several_new_ones_in_its_place_and_is_gone(self, tmp_path):
        options = FieldOptions(renames=(("page", "event"), ("event_type", "event")))
        records, _ = read(tmp_path, b"user,event,at\na,home,1\n", options)
        assert records[0].value == b'{"user":"a","page":"home","event_type":"home","at":"1"}'

    def test_two_fields_can_change_names(self, tmp_path):
        records, _ = read(tmp_path, b"a,b\n1,2\n", FieldOptions(renames=(("a", "b"), ("b", "a"))))
        assert payloads(records) == [{"b": "1", "a": "2"}]

    def test_a_renamed_field_may_be_called_by_its_new_name(self, tmp_path):
        options = FieldOptions(key="user_id", renames=(("user_id", "user"),))
        records, _ = read(tmp_path, NDJSON, options)
        assert [record.key for record in records] == [b"a", b"b"]

    @pytest.mark.parametrize(
        ("cell", "time_ms"),
        [
            ("2024-03-13 10:21:14", 1_710_325_274_000),
            ("2024-03-13T11:21:14.250+01:00", 1_710_325_274_250),
            ("1710325274", 1_710_325_274_000),
            ("1710325274123", 1_710_325_274_123),
        ],
    )
    @pytest.mark.parametrize("template", ["at,x\n{},1\n", '{{"at":"{}","x":"1"}}'])
    def test_times_become_epoch_milliseconds(self, tmp_path, template, cell, time_ms):
        records, source = read(tmp_path, template.format(cell).encode(), FieldOptions(time_field="at"))
        assert payloads(records) == [{"at": time_ms, "x": "1"}]
        assert (records[0].time_ms, source.passed_through) == (time_ms, 0)

    def test_what_is_no_time_stays_as_it_was_and_is_counted(self, tmp_path):
        records, source = read(tmp_path, b"at,x\nsoon,1\n", FieldOptions(time_field="at"))
        assert payloads(records) == [{"at": "soon", "x": "1"}]
        assert (records[0].time_ms, source.passed_through) == (None, 1)

    def test_csv_is_text_except_declared_numbers_and_empty_cells_are_absent(self, tmp_path):
        data = b"a,b,c\n1,2.50,\n007,1e3,x\n"
        records, source = read(tmp_path, data, FieldOptions(numbers=("a", "b")))
        assert [record.value for record in records] == [b'{"a":1,"b":2.50}', b'{"a":"007","b":1e3,"c":"x"}']
        assert source.passed_through == 1  # 007 is no number of JSON's

    def test_a_quoted_csv_cell_may_hold_line_ends_and_commas(self, tmp_path):
        records, _ = read(tmp_path, b'a,b\n"x, ""y""\nz",1\n2,3\n', source_format="csv")
        assert payloads(records) == [{"a": 'x, "y"\nz', "b": "1"}, {"a": "2", "b": "3"}]


class TestOrder:
    def ordered(self, tmp_path, data, **options):
        records, _ = read(tmp_path, data, FieldOptions(**options))
        return [json.loads(record.value).get("id") for record in records]

    def test_by_a_number_stable_and_what_has_none_last(self, tmp_path):
        data = b'{"id":1,"n":10}\n{"id":2}\n{"id":3,"n":9}\n{"id":4,"n":10}\n{"id":5,"n":"9"}\n{"id":6,"n":9.5}'
        assert self.ordered(tmp_path, data, order_by="n") == [3, 6, 1, 4, 5, 2]

    def test_by_time_in_whatever_zone(self, tmp_path):
        data = b"id,at\n1,2024-03-13T10:00:00Z\n2,2024-03-13T10:30:00+01:00\n"
        assert self.ordered(tmp_path, data, time_field="at", order_by="at") == ["2", "1"]

    def test_a_csv_column_is_text_unless_it_is_declared_a_number(self, tmp_path):
        data = b"id,n\na,10\nb,9\n"
        assert self.ordered(tmp_path, data, order_by="n") == ["a", "b"]
        assert self.ordered(tmp_path, data, order_by="n", numbers=("n",)) == ["b", "a"]

    def test_the_share_that_is_done_is_known(self, tmp_path):
        path = tmp_path / "input"
        path.write_bytes(NDJSON)
        with Source(str(path), FieldOptions(order_by="at")) as source:
            next(iter(source))
            assert source.fraction() == 0.5


class TestUnreadable:
    def test_broken_json_lines_go_through_unchanged_and_are_counted(self, tmp_path):
        bad = [b'{"user":', b"[1]", b"17", b'{"user":"\xff"}', b'{"user":"c"} {"user":"d"}']
        options = FieldOptions(key="user", renames=(("who", "user"),))
        records, source = read(tmp_path, b"\n".join([b'{"user":"a"}', *bad, b'{"user":"b"}']), options, name="x.ndjson")
        assert [record.value for record in records] == [b'{"who":"a"}', *bad, b'{"who":"b"}']
        assert [record.key for record in records] == [b"a", *[None] * len(bad), b"b"]
        assert source.passed_through == len(bad)

    def test_a_csv_row_longer_than_the_header_goes_through_as_csv(self, tmp_path):
        records, source = read(tmp_path, b'a,b\n1,"x,y",3\n1,2\n', FieldOptions(key="a"), source_format="csv")
        assert [record.value for record in records] == [b'1,"x,y",3', b'{"a":"1","b":"2"}']
        assert [record.key for record in records] == [b"1", b"1"]
        assert source.passed_through == 1

    def test_a_csv_row_that_is_no_utf8_goes_out_with_its_own_bytes(self, tmp_path):
        records, source = read(tmp_path, b"a,b\ncaf\xe9,2\n", FieldOptions(key="a"))
        assert records[0][:2] == (b"caf\xe9", b"caf\xe9,2")
        assert source.passed_through == 1


class TestWrongOptions:
    @pytest.mark.parametrize(
        ("data", "options", "message"),
        [
            (NDJSON, FieldOptions(key="usr"), "--key usr: no such field; the input has user, at"),
            (CSV, FieldOptions(time_field="time"), "--time-field time: no such field; the input has user, at"),
            (CSV, FieldOptions(order_by="x"), "--order-by x: no such field"),
            (CSV, FieldOptions(numbers=("x",)), "--number x: no such field"),
            (CSV, FieldOptions(renames=(("page", "url"),)), "--field …= url: no such field"),
            (CSV, FieldOptions(renames=(("at", "user"),)), "--field at=user: the input already has a field at"),
            (CSV, FieldOptions(renames=(("x", "user"), ("x", "at"))), "--field x=at: the input already has"),
            (NDJSON, FieldOptions(numbers=("at",)), "--number is for CSV"),
            (LINES, FieldOptions(key="user"), "plain lines, which have no fields"),
        ],
    )
    def test_the_error_names_the_option_and_the_fields(self, tmp_path, data, options, message):
        with pytest.raises(OptionError) as raised:
            read(tmp_path, data, options)
        assert message in str(raised.value)

    @pytest.mark.parametrize(
        ("data", "message"), [(b"", "is empty"), (b"a,a\n1,2\n", "every column once"), (b"a,,b\n1,2,3\n", "once")]
    )
    def test_a_csv_file_needs_a_header_of_names(self, tmp_path, data, message):
        with pytest.raises(CommandError, match=message):
            read(tmp_path, data, source_format="csv")

    def test_an_unknown_format(self, tmp_path):
        with pytest.raises(OptionError, match="--format xml: expected auto, ndjson, csv, lines"):
            read(tmp_path, CSV, source_format="xml")

    def test_an_empty_input_has_no_records_whatever_the_options(self, tmp_path):
        assert read(tmp_path, b"", FieldOptions(key="a"), name="empty.ndjson", source_format="ndjson")[0] == []


class TestKnownFiles:
    def test_the_shop_clicks_need_no_flags(self, shared_data):
        """31,106 clicks in the order of their time; sessions counted here by plain code: a gap of 1,800 s."""
        with Source(str(shared_data / "clicks" / "ecom.csv.gz")) as source:
            records = list(source)
        clicks = payloads(records)
        assert (len(records), source.passed_through) == (31_106, 0)
        assert source.dialect == "retentioneering clicks"
        assert all(a.time_ms <= b.time_ms for a, b in pairwise(records))
        assert all(
            record.key.decode() == click["user_id"]
            and record.time_ms == click["timestamp"]
            and click["page"] == click["event_type"]
            and "event" not in click
            for record, click in zip(records, clicks, strict=True)
        )
        last, sessions = {}, 0
        for click in clicks:
            user, second = click["user_id"], click["timestamp"] // 1000
            sessions += user not in last or second - last[user] > 1800
            last[user] = second
        assert (len(last), sessions) == (600, 3_605)

    def test_a_flag_is_stronger_than_what_is_known(self, shared_data):
        options = FieldOptions(key="session_id", renames=(("page", "event"),))
        with Source(str(shared_data / "clicks" / "ecom.csv.gz"), options) as source:
            first = next(iter(source))
        assert first.key.startswith(b"sess_")
        assert "event_type" not in json.loads(first.value)

    def test_access_logs_are_plain_lines(self, shared_data):
        path = shared_data / "logs" / "apache_access_2000.log"
        with Source(str(path)) as source:
            values = [record.value for record in source]
        assert source.format == "lines"
        assert values == path.read_bytes().splitlines()
