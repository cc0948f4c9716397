"""How the lake's files are cut, how long they live, and how events reach the functions."""

import itertools
import re

import pytest
import validate_application
import validate_resolve

from headrace.settings import Settings

TEMPLATE = validate_application.load_template()
PARAMETERS = TEMPLATE["Parameters"]
GLACIER = [int(days) for days in PARAMETERS["LakeGlacierDays"]["AllowedValues"]]
EXPIRY = [int(days) for days in PARAMETERS["LakeExpiryDays"]["AllowedValues"]]


def deployed(kind, **parameters):
    given = validate_application.SSM_ANSWERS | parameters
    resources = validate_resolve.resolve(validate_application.translate(TEMPLATE, parameters), given)["Resources"]
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


def lifecycle(**parameters):
    rules = deployed("AWS::S3::Bucket", **parameters)["LakeBucket"]["LifecycleConfiguration"]["Rules"]
    return {rule["Id"]: rule for rule in rules}


def test_published_files_stay_where_they_are_for_ever_unless_somebody_chose_otherwise():
    assert list(lifecycle()) == ["leftovers", "abandoned-staging"]


@pytest.mark.parametrize(
    ("chosen", "transitions", "expiry"),
    [
        ({"LakeIntelligentTiering": "true"}, [("INTELLIGENT_TIERING", "0")], None),
        ({"LakeGlacierDays": "90"}, [("GLACIER_IR", "90")], None),
        ({"LakeExpiryDays": "30"}, None, "30"),
        (
            {"LakeIntelligentTiering": "true", "LakeGlacierDays": "30", "LakeExpiryDays": "365"},
            [("INTELLIGENT_TIERING", "0"), ("GLACIER_IR", "30")],
            "365",
        ),
    ],
)
def test_each_choice_is_a_part_of_one_rule_about_published_files(chosen, transitions, expiry):
    """What is staged and what state there is keeps the rules that it had."""
    rules = lifecycle(**chosen)
    published = rules.pop("published-files")
    assert rules == lifecycle()
    assert (published["Prefix"], published["Status"]) == ("lake/", "Enabled")
    moves = published.get("Transitions")
    assert (moves and [(move["StorageClass"], str(move["TransitionInDays"])) for move in moves]) == transitions
    assert str(published.get("ExpirationInDays")) == str(expiry)


@pytest.mark.parametrize(("glacier", "expiry"), [*itertools.product(GLACIER, EXPIRY)])
def test_a_file_cannot_expire_before_it_moves(glacier, expiry):
    """S3 would refuse the rule in the middle of a deployment."""
    chosen = {"LakeGlacierDays": str(glacier), "LakeExpiryDays": str(expiry)}
    refused = validate_resolve.refusals(TEMPLATE, chosen)
    impossible = 0 < expiry <= glacier
    assert refused == (["LakeExpiryDays must be 0 or later than LakeGlacierDays"] if impossible else [])


BUCKETS = {"hour": True, "day": True, "a.b=day,c=hour": True, "": False, "week": False, "a=day,": False, "a=": False}
EVENT_TIMES = {"": True, "a=at": True, "a.b=at,c-d=_timestamp_ms": True, "at": False, "a=1": False, "a=at,": False}


@pytest.mark.parametrize(
    ("parameter", "text", "taken"),
    [
        *(("LandingBuckets", text, taken) for text, taken in BUCKETS.items()),
        *(("LandingEventTimes", text, taken) for text, taken in EVENT_TIMES.items()),
    ],
)
def test_what_landing_is_told_is_what_it_takes(parameter, text, taken):
    assert bool(re.fullmatch(PARAMETERS[parameter]["AllowedPattern"], text)) is taken
    if taken:
        name = re.sub(r"(?<=.)(?=[A-Z])", "_", parameter).upper()
        Settings.from_environment({f"HEADRACE_{name}": text})


def test_every_function_is_told_the_same():
    """The sweeper finishes landing's work: it has to know the same topologies."""
    chosen = {"LandingBuckets": "day", "LandingEventTimes": "clicks=_timestamp_ms", "RawEvents": "true"}
    chosen |= {"LandingDuplicateKeys": "drop"}
    functions = deployed("AWS::Lambda::Function", **chosen)
    options = ("LANDING_BUCKETS", "LANDING_EVENT_TIMES", "RAW_EVENTS", "LANDING_DUPLICATE_KEYS")
    names = [f"HEADRACE_{option}" for option in options]
    told = [[function["Environment"]["Variables"][name] for name in names] for function in functions.values()]
    assert told == [["day", "clicks=_timestamp_ms", "true", "drop"]] * len(functions)


def test_with_every_choice_there_is_no_finding():
    chosen = {"LakeIntelligentTiering": "true", "LakeGlacierDays": "90", "LakeExpiryDays": "365", "RawEvents": "true"}
    assert validate_application.template_findings(TEMPLATE, chosen) == []
