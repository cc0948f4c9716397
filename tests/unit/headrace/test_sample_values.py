"""Samples: the first texts, as they came, of the events that are marked."""

import pytest
from aggregating import result_of, state_of, stored
from arro3.core import DataType
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.sample_values import MAX_CHARS, Samples

THREE = Samples("message", where="is_error")
EVENTS = st.lists(st.tuples(st.none() | st.sampled_from("abcdef"), st.sampled_from([0, 1, None, True])), max_size=20)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([], []),
        ([("a", 0), ("b", None), (None, 1)], []),
        ([("b", 1), ("a", True), ("b", 1), ("c", 1)], ["b", "a", "b"]),
        ([("", 1)], [""]),
        ([("x" * 10_000, 1)], ["x" * MAX_CHARS]),
    ],
)
def test_the_first_ones_are_kept(values, kept):
    assert result_of(THREE, *values) == kept if values else THREE.result(THREE.initial()) == kept


@settings(deadline=None)
@given(events=EVENTS, cuts=st.sets(st.integers(1, 20)), parted=st.integers(0, 20))
def test_where_a_batch_is_cut_changes_nothing_and_parts_merge(events, cuts, parted):
    first = [text for text, marked in events if marked and text is not None][:3]
    timed = list(enumerate(events))
    assert THREE.result(state_of(THREE, timed, cuts=cuts)) == first
    assert stored(THREE, state_of(THREE, timed, cuts=cuts)) == stored(THREE, state_of(THREE, timed))
    merged = THREE.merge(state_of(THREE, timed[:parted]), state_of(THREE, timed[parted:]))
    assert THREE.result(merged) == first


def test_texts_only_and_one_at_least():
    assert DataType.is_list(THREE.result_type(DataType.string()))
    for wrong in (DataType.int64(), None):
        with pytest.raises(ConfigurationError, match="needs a field of texts"):
            THREE.result_type(wrong)
    with pytest.raises(ConfigurationError, match="positive count"):
        Samples("message", where="is_error", count=0)
