"""The tools for plain functions: decorators, lists of arguments, NDJSON, the timer."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import job_orchestration.functions as h
from job_orchestration.functions import Timer, as_json, attempt, decorators, expand_args, nd_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
DICTS = st.dictionaries(st.text(), VALUES, max_size=4)


@as_json
@attempt
@expand_args
def do_work(arg1, arg2, kwarg1="value1", kwarg2="value2"):
    """Do it."""
    if arg1 == "bad":
        raise KeyError
    return {"all": [arg1, arg2, kwarg1, kwarg2]}


def same(a, b):
    """Whether two values are equal, NaN included."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@given(DICTS, st.lists(DICTS, max_size=4))
def test_each_copy_is_the_base_with_its_own_values(base, values):
    before = copy.deepcopy(base)
    made = h.update_list(base, values)
    assert same(made, [{**base, **value} for value in values])
    for one in made:
        for inner in one.values():
            if isinstance(inner, list | dict):
                inner.clear()
    assert same(base, before), "a copy shares nothing with the base"


@pytest.mark.seed_fault("B-DL-06")
def test_lists_of_arguments_are_those_that_dl_jobs_documents():
    base = {"action": "hello-world"}
    assert h.update_list(base, range(3), "system_id") == [
        {"action": "hello-world", "system_id": 0},
        {"action": "hello-world", "system_id": 1},
        {"action": "hello-world", "system_id": 2},
    ]
    args_list = [{"system_id": 1, "out": 11}, {"system_id": 2, "out": 22}]
    assert h.update_list(base, args_list) == [
        {"action": "hello-world", "out": 11, "system_id": 1},
        {"action": "hello-world", "out": 22, "system_id": 2},
    ]
    with pytest.raises(TypeError, match="Say which key"):
        h.update_list(base, [1])


@given(st.sampled_from(["false", "none", "no", "null", "f", "n", "0"]), st.data())
def test_seven_words_are_false_in_any_case_and_all_others_true(word, data):
    cased = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in word)
    assert h.truthy(cased) is False
    assert h.bool_str(cased) is False
    assert h.truthy(f"{cased}x") is True
    assert h.bool_str(f"{cased}x") == f"{cased}x"
    assert (h.bool_str("Yes"), h.bool_str(1), h.bool_str(None)) == (True, True, False)
    assert (h.is_str("a"), h.is_str(b"a")) == (True, False)


@pytest.mark.seed_fault("B-DL-04", "B-DL-12")
def test_a_decorated_function_takes_a_list_and_a_dict_and_returns_json():
    assert json.loads(do_work([1, 2], {"kwarg1": 3})) == {"all": [1, 2, 3, "value2"]}
    assert json.loads(do_work({"arg1": 1, "arg2": 2})) == {"all": [1, 2, "value1", "value2"]}
    assert do_work([1, 2], return_as_dict=True) == {"all": [1, 2, "value1", "value2"]}
    assert (do_work.__name__, do_work.__doc__) == ("do_work", "Do it.")
    failed = json.loads(do_work(["bad", range(2)]))
    assert (failed["ERROR"], failed["TYPE"]) == ("KeyError", "KeyError"), (
        "a message of its own, if it had none"
    )
    assert failed["ARGS"] == [["bad", [0, 1]]]
    assert "raise KeyError" in failed["TRACEBACK"]
    assert as_json(lambda: None)() == "{}"
    assert as_json(lambda: "as it is")() == "as it is"


@pytest.mark.seed_fault("B-DL-05")
def test_an_error_is_no_number_and_a_false_result_is_no_error():
    errors = ["ERROR: no tiles", {"ERROR": True}, {"ERROR": "text"}, {"ERROR": ""}]
    assert all(map(decorators.is_error, errors))
    results = [
        3,
        False,
        None,
        0.0,
        [],
        {},
        "",
        "no ERROR",
        {"ERROR": False},
        {"ERROR": None},
        {"error": True},
    ]
    assert not any(map(decorators.is_error, results))


@pytest.mark.seed_fault("B-DL-10")
@settings(max_examples=20)
@given(values=st.lists(VALUES, max_size=5), more=st.lists(VALUES, max_size=3), blank=st.booleans())
def test_what_is_written_is_read_again(tmp_path_factory, values, more, blank):
    path = tmp_path_factory.mktemp("ndjson") / "new" / "a.ndjson"
    assert nd_json.write(values, path) == len(values)
    if blank:
        path.write_text(path.read_text().replace("\n", "\n\n"))
    nd_json.write(more, path, overwrite=False)
    assert same(nd_json.read(path), [*values, *more])
    nd_json.write({"one": 1}, path, func=lambda value: value["one"])
    assert nd_json.read(path) == [1]


def test_a_function_is_applied_to_each_line_and_a_bad_line_is_named(tmp_path):
    path = tmp_path / "a.ndjson"
    nd_json.write([1, 2, 3], path)
    assert nd_json.apply(path, lambda value: value * 2) == [2, 4, 6]
    assert nd_json.apply(path, lambda value: value * 2, sum) == 12
    path.write_text('1\n{"half"')
    with pytest.raises(ValueError, match=r"a\.ndjson, line 2"):
        nd_json.read(path)


@pytest.mark.seed_fault("B-DL-09")
def test_a_timer_shows_when_and_how_long_also_while_it_runs():
    start = datetime(2019, 5, 20, 21, 47, 30, tzinfo=UTC)
    times = iter([start, *(start + timedelta(seconds=s) for s in (9.9, 12, 14))])
    timer = Timer(now=lambda: next(times))
    with pytest.raises(ValueError, match="start"):
        timer.duration()
    assert timer.start() == "May 20 2019 21:47:30"
    assert timer.duration() == "0:00:09"
    assert timer.end() is None
    assert timer.stop() == "May 20 2019 21:47:44"
    assert timer.duration() == "0:00:14"
    assert Timer("%Y", now=lambda: start).start() == "2019"
