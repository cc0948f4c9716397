"""What a deployment says of each topic becomes how that topic lands."""

import json

import pytest

from headrace.errors import ConfigurationError, SchemaError
from headrace.land_logs import LandLogs
from headrace.operators import Land
from headrace.records import Record
from headrace.settings import Settings
from landing import topology
from landing.topology import topologies

CODECS = {"clicks": "json:clicks.avsc", "web": "log"}


@pytest.mark.parametrize(
    ("settings", "event_times", "buckets"),
    [
        ({}, ("timestamp", "timestamp", None), ("hour", "hour", "hour")),
        ({"landing_buckets": "day"}, ("timestamp", "timestamp", None), ("day", "day", "day")),
        ({"landing_buckets": {"web": "day"}}, ("timestamp", "timestamp", None), ("hour", "day", "hour")),
        (
            {"landing_event_times": {"clicks": "_timestamp_ms", "other": "_timestamp_ms"}},
            (None, "timestamp", None),
            ("hour", "hour", "hour"),
        ),
        ({"landing_event_times": {"clicks": "timestamp"}}, ("timestamp", "timestamp", None), ("hour", "hour", "hour")),
    ],
)
def test_each_topic_has_its_event_time_and_bucket(settings, event_times, buckets):
    of = topologies(Settings(landing_codecs=CODECS, **settings))
    found = [of(topic) for topic in ("clicks", "web", "other")]
    assert tuple(topology.event_time for topology in found) == event_times
    clicks, web, other = buckets
    wanted = (Land(clicks), LandLogs(web), Land(other))
    assert tuple(topology.operators for topology in found) == tuple((operator,) for operator in wanted)


@pytest.mark.parametrize(("topic", "field"), [("clicks", "user_id"), ("clicks", "nothing"), ("other", "value")])
def test_an_event_time_that_is_no_timestamp_stops_the_start(topic, field):
    """Not the first batch: a deployment that cannot land a topic fails at once."""
    settings = Settings(landing_codecs=CODECS, landing_event_times={topic: field})
    with pytest.raises(ConfigurationError, match=rf"event time '{field}' is no timestamp of \w+: .*_timestamp_ms$"):
        topologies(settings)


@pytest.mark.parametrize("name", ["date", "hour", "Date"])
def test_a_field_that_is_called_as_the_folders_stops_the_start(tmp_path, monkeypatch, name):
    """Readers of the path would take the folder's value for the field's."""
    monkeypatch.setattr(topology, "SCHEMAS", tmp_path)
    (tmp_path / "visits.avsc").write_text(avsc(name))
    with pytest.raises(
        SchemaError, match=rf"^field '{name}': landed files lie in folders date=…/hour=….* alias '{name}'"
    ):
        topologies(Settings(landing_codecs={"visits": "json:visits.avsc"}))


def test_by_an_alias_its_records_land_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(topology, "SCHEMAS", tmp_path)
    (tmp_path / "visits.avsc").write_text(avsc("day", "date"))
    codec = topologies(Settings(landing_codecs={"visits": "json:visits.avsc"}))("visits").codec
    (value,) = codec.decode([Record("visits", 0, 0, value=b'{"date": "2024-03-13"}')]).values
    assert (value.day, value._rescued) == ("2024-03-13", None)


def avsc(name, *aliases):
    return json.dumps({"type": "record", "name": "V", "fields": [{"name": name, "type": "string", "aliases": aliases}]})
