"""Return values: JSON is kept as it is, what people compute with as they would write it, the rest by name."""

from __future__ import annotations

import argparse
import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import types
import uuid
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.runs import event_codec
from job_orchestration.runs.events import JournalEntry, TaskFinished
from job_orchestration.runs.kept_values import MAX_BYTES, copy_of, kept, sentence_of

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def read_back(value: object) -> object:
    """What a journal says of a kept value."""
    entry = JournalEntry(1, "2026-11-26T10:00:00.000000+00:00", TaskFinished("one", 1.0, value))
    line = event_codec.encode(entry)
    json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = event_codec.decode(line)
    assert found is not None
    return found.event.result


@given(json_values)
def test_what_json_can_say_is_kept_as_it_is(value):
    found, phrases = kept(value)
    assert phrases == []
    assert repr(found) == repr(value)
    assert repr(read_back(found)) == repr(value), "as after a resume"


scalars = st.one_of(
    *(
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.complex_numbers(),
        st.decimals(allow_nan=False),
        st.fractions(),
    ),
    *(st.datetimes(), st.dates(), st.times(), st.timedeltas(), st.uuids(), st.functions()),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.sets(scalars, max_size=3),
        st.dictionaries(scalars, inner, max_size=3),
        st.iterables(inner, max_size=2),
    ),
    max_leaves=8,
)


@given(anything)
def test_anything_at_all_is_kept_or_described_and_a_resume_sees_the_same(value):
    found, _ = kept(value)
    assert repr(read_back(found)) == repr(found)


@given(json_values)
def test_a_kept_value_and_a_copy_share_nothing_with_the_original(value):
    for other in (kept(value)[0], copy_of(value)):
        assert repr(other) == repr(value)
        assert containers(other).isdisjoint(containers(value))


def containers(value: object) -> set[int]:
    match value:
        case dict():
            return {id(value)}.union(*map(containers, value.values()))
        case list():
            return {id(value)}.union(*map(containers, value))
    return set()


# -- what people compute with ------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    ODD = object()


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Score:
    value: float
    parts: list[object]


class Point(NamedTuple):
    x: int
    y: int


PLAIN = {
    "path": (pathlib.PurePosixPath("/data/a"), "/data/a"),
    "date": (dt.date(2026, 11, 26), "2026-11-26"),
    "datetime": (dt.datetime(2026, 11, 26, 10, tzinfo=dt.UTC), "2026-11-26T10:00:00+00:00"),
    "time": (dt.time(10, 30), "10:30:00"),
    "timedelta": (dt.timedelta(minutes=1), 60.0),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "set of names": (frozenset({"b", "a"}), ["a", "b"]),
    "tuple": ((1, (2, "x")), [1, [2, "x"]]),
    "named tuple": (Point(1, 2), {"x": 1, "y": 2}),
    "dataclass": (Score(0.5, [Level.HIGH]), {"value": 0.5, "parts": [3]}),
    "enum": ([Colour.RED, Colour.ODD, Level.HIGH], ["red", "ODD", 3]),
    "decimal": ([decimal.Decimal("0.1"), decimal.Decimal("0." + "1" * 30)], [0.1, "0." + "1" * 30]),
    "fraction": (fractions.Fraction(1, 3), "1/3"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "complex": (1 + 2j, "(1+2j)"),
    "bytes": ([b"text", bytearray(b"x"), memoryview(b"m")], ["text", "x", "m"]),
    "deque": (collections.deque([1]), [1]),
    "array": (array.array("d", [0.5]), [0.5]),
    "range": (range(3), [0, 1, 2]),
    "counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "proxy": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "views": ([{"b": 1, "a": 2}.keys(), {"b": 1}.values()], [["b", "a"], [1]]),
    "namespaces": ([types.SimpleNamespace(a=1), argparse.Namespace(b=2)], [{"a": 1}, {"b": 2}]),
    "keys": ({1: 1, None: 2, False: 3, (1, 2): 4}, {"1": 1, "null": 2, "false": 3, "(1, 2)": 4}),
    "keys that are written alike": ({1: "a", "1": "b"}, {"1": "a", "1~2": "b"}),
    "more keys": ({Level.HIGH: 1, Colour.RED: 2, dt.date(2026, 1, 1): 3, 1.5: 4},
                  {"3": 1, "red": 2, "2026-01-01": 3, "1.5": 4}),
    "undecodable name": (["caf\udce9", {"\udce9": 1}], ["caf\\udce9", {"\\udce9": 1}]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_what_people_compute_with_is_kept_as_they_would_write_it(name):
    value, wanted = PLAIN[name]
    assert kept(value) == (wanted, [])


def test_numpy_is_kept_as_the_numbers_that_it_is():
    numpy = pytest.importorskip("numpy")
    nat = numpy.datetime64("NaT")
    values = {
        "scalars": [numpy.float64(0.5), numpy.int32(3), numpy.bool_(True), numpy.str_("x")],
        "long": numpy.longdouble(1.5),
        "arrays": [numpy.zeros((2, 2)), numpy.array(5), numpy.array(["a"])],
        "mask": numpy.ma.array([1, 2], mask=[0, 1]),
        "times": [numpy.datetime64("2026-11-26"), nat, numpy.timedelta64(3, "h")],
        "years": numpy.array(["2026"], "M8[ns]"),
        "records": numpy.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        "masked": numpy.ma.masked,
        numpy.int64(7): numpy.array([{1}, None], object),
    }
    assert kept(values) == (
        {
            "scalars": [0.5, 3, True, "x"],
            "long": 1.5,
            "arrays": [[[0.0, 0.0], [0.0, 0.0]], 5, ["a"]],
            "mask": [1, None],
            "times": ["2026-11-26", None, 10800.0],
            "years": ["2026-01-01T00:00:00.000000000"],
            "records": [{"a": 1, "b": 2.0}],
            "masked": None,
            "7": [[1], None],
        },
        [],
    )


@pytest.mark.slow
def test_pandas_is_kept_as_its_rows_and_values():
    pandas = pytest.importorskip("pandas")
    stamp = pandas.Timestamp("2026-11-26")
    values = {
        "scalars": [stamp, pandas.NaT, pandas.NA, pandas.Timedelta("1min"), pandas.Period("2026-11")],
        "series": [pandas.Series([1, 2]), pandas.Series([1, 2], index=["a", "a"])],
        "frame": pandas.DataFrame({"a": [1, 2], "b": [stamp, pandas.NaT]}),
        "with an index": pandas.DataFrame({"a": [1]}, index=pandas.Index(["r"], name="row")),
        "columns of one name": pandas.DataFrame([[1, 2]], columns=["a", "a"]),
        "others": [pandas.Categorical(["x"]), pandas.Index([1])],
    }
    assert kept(values) == (
        {
            "scalars": ["2026-11-26T00:00:00", None, None, 60.0, "2026-11"],
            "series": [[1, 2], {"a": 1, "a~2": 2}],
            "frame": [{"a": 1, "b": "2026-11-26T00:00:00"}, {"a": 2, "b": None}],
            "with an index": [{"row": "r", "a": 1}],
            "columns of one name": [{"a": 1, "a~2": 2}],
            "others": [["x"], [1]],
        },
        [],
    )


# -- what is not kept --------------------------------------------------------------------------------------


def circle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


def tower() -> list[object]:
    found: list[object] = []
    for _ in range(100_000):
        found = [found]
    return found


class Hostile:
    """Whatever is asked of it raises."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __len__(self):
        raise RuntimeError

    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ({"model": object()}, "result.model: an object is not kept"),
        ([1, [lambda: 0]], "result[1][0]: a function is not kept"),
        (iter([1]), "result: a list_iterator is not kept"),
        (Hostile(), "result: a Hostile is not kept"),
        ({Hostile(): 1}, "result: a dict of 1 entry is not kept"),
        (b"\xff\x00", "result: 2 bytes is not kept"),
        (circle(), "result[0]: a list of 1 entry contains itself and is not kept"),
        (10**5000, "result: an int of 16,610 bits is not kept"),
        ("x" * MAX_BYTES, f"result: a text of {MAX_BYTES:,} characters is too large to be kept"),
        (range(10**12), "result: a range is too large to be kept"),
        (["x" * 600] * 2000, "result: a list of 2,000 entries is too large to be kept"),
        ([0.5] * 10**6, "result: a list of 1,000,000 entries is too large to be kept"),
        ({"a\nb": object()}, "result.a\\nb: an object is not kept"),
    ],
    ids=range(13),
)
def test_what_cannot_be_kept_is_described_with_its_place(value, phrase):
    found, phrases = kept(value)
    assert phrases == [phrase]
    assert "(not kept)" in json.dumps(found)


def test_what_is_too_deep_is_described_and_what_is_above_it_is_kept():
    found, (phrase,) = kept({"deep": tower(), "a": 1})
    assert found["a"] == 1
    assert "…" in phrase
    assert len(phrase) < 200
    assert read_back(found) == found


def test_only_the_parts_that_are_too_large_are_left_out():
    value = {
        "accuracy": 0.9,
        "folds": [{"predictions": ["x" * 900] * 1000, "n": n} for n in (1, 2)],
        "notes": "x" * 500_000,
    }
    found, phrases = kept(value)
    assert len(json.dumps(found)) <= MAX_BYTES
    assert found["accuracy"] == 0.9
    assert [fold["n"] for fold in found["folds"]] == [1, 2]
    assert found["notes"] == value["notes"]
    assert sorted(phrases) == [
        f"result.folds[{n}].predictions: a list of 1,000 entries is too large to be kept" for n in range(2)
    ]


def test_a_large_array_is_never_written_out():
    numpy = pytest.importorskip("numpy")
    found, (phrase,) = kept({"x": numpy.broadcast_to(0.0, (10**6, 10**6)), "y": 1})
    assert found["y"] == 1
    assert phrase == "result.x: an ndarray of shape (1000000, 1000000) is too large to be kept"


def test_one_sentence_names_the_first_places_and_counts_the_others():
    _, phrases = kept([object()] * 1000)
    assert sentence_of(phrases).count("result[") == 5
    assert sentence_of(phrases).endswith(", and 995 more; save them with self.context.store")


def test_nan_and_infinity_are_the_numbers_that_they_are():
    found, _ = kept({"a": math.nan, "b": [math.inf, -math.inf], "$float": "nan"})
    assert repr(read_back(found)) == "{'a': nan, 'b': [inf, -inf], '$float': 'nan'}"
