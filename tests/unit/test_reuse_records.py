"""What a task depends on, as values: one change changes the key exactly if the task can see it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config.config import specs_of
from job_orchestration.config.settings import RULES
from job_orchestration.runs.reuse_records import NO_PARAMETERS, Basis, Record, Traces, parameters_of, why_not
from job_orchestration.runs.state import RunState, TaskState, TaskStatus
from job_orchestration.runs.summaries import summary_of

BASIS = Basis(
    method="Fit",
    code={"Tasks.py": "aa", "helper.py": "bb"},
    parameters={"fit.lr": "0.1", "size": "3"},
    inputs={"/data.csv": "cc"},
    seed=0,
    packages="d1",
    machine={"Python": "CPython 3.11.7"},
    earlier={"load": "dd"},
)
RECORD = Record(
    "first", "fit", "ee", BASIS, Traces({"late.py": "ff"}, {"x": []}, {"t": None}, {"/f": [1, 2]})
)
CHANGES = {
    "method Fit → Train": {"method": "Train"},
    "module helper.py changed": {"code": {"Tasks.py": "aa", "helper.py": "cc"}},
    "module helper.py is gone": {"code": {"Tasks.py": "aa"}},
    "module more.py is new": {"code": {**BASIS.code, "more.py": "gg"}},
    "parameter fit.lr 0.1 → 0.2": {"parameters": {"fit.lr": "0.2", "size": "3"}},
    "parameter size is gone": {"parameters": {"fit.lr": "0.1"}},
    "input /data.csv changed": {"inputs": {"/data.csv": "dd"}},
    "seed 0 → 1": {"seed": 1},
    "package numpy 1.26 → 2.0": {"packages": "d2"},
    "packages changed": {"packages": "d3"},
    "Python CPython 3.11.7 → CPython 3.12.0": {"machine": {"Python": "CPython 3.12.0"}},
    "result of load changed": {"earlier": {"load": "ee"}},
}
LISTS = {"d1": {"numpy": "1.26"}, "d2": {"numpy": "2.0"}}
names = st.sampled_from(["lr", "size", "deep", "api_key", "text"])
leaves = (
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([0.5, "a", "b" * 80, "s3cr3t-Value-1"])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2)
)
entries = st.dictionaries(names, values, max_size=3)


def key_of(top: dict, own: dict, before: dict, behind: dict) -> str:
    tasks = [
        {"id": "load", "method": "Load", **before},
        {"id": "fit", "method": "Fit", **own},
        {"id": "report", "method": "Report", **behind},
    ]
    config = {**top, "tasks": tasks}
    return replace(BASIS, parameters=parameters_of(config, specs_of(config), 1)).key


def test_each_difference_changes_the_key_and_is_named():
    assert why_not(RECORD, BASIS) is None
    for phrase, change in CHANGES.items():
        now = replace(BASIS, **change)
        assert now.key != BASIS.key
        assert why_not(RECORD, now, LISTS.get) == phrase


def test_a_record_is_read_back_as_it_was_written():
    for record in (RECORD, replace(RECORD, imported=("a.py",), unusable="wrote /x")):
        assert Record.from_json(json.loads(json.dumps(record.as_json()))) == record


@given(entries, entries, entries, entries, names, values)
def test_the_key_changes_exactly_if_the_task_can_see_the_change(top, own, before, behind, name, value):
    key = key_of(top, own, before, behind)
    one = {name: value}

    def differs(old: dict) -> bool:
        return name not in old or json.dumps(old[name], sort_keys=True) != json.dumps(value, sort_keys=True)

    assert (key_of(top, {**own, **one}, before, behind) != key) == (
        differs(own) if name in own or name not in top else True
    )
    assert (key_of(top, own, {**before, **one}, behind) != key) == differs(before)
    assert (key_of({**top, **one}, own, before, behind) != key) == (name not in own and differs(top))
    assert key_of(top, own, before, {**behind, **one}) == key


def test_settings_do_not_count_but_those_that_a_task_may_notice():
    key = key_of({}, {}, {}, {})
    assert {setting for setting in RULES if key_of({setting: 1}, {}, {}, {}) != key} == {
        "isolation",
        "resources",
        "inputs",
    }
    assert all(key_of({setting: "x"}, {}, {}, {}) == key for setting in NO_PARAMETERS - {"tasks"})
    assert key_of({}, {"timeout": "1h"}, {"timeout": "2h"}, {}) == key


def test_no_secret_and_no_long_value_stands_in_a_record():
    config = {"db": {"password": "hunter2!"}, "text": "x" * 500, "tasks": [{"id": "fit", "method": "Fit"}]}
    found = json.dumps(parameters_of(config, specs_of(config), 0))
    assert "hunter2!" not in found
    assert "xxx" not in found


def test_a_path_in_the_folder_of_the_run_is_the_same_in_another_run():
    def of(run: str) -> dict[str, str]:
        config = {"data": f"{run}/inputs/data.csv", "tasks": [{"id": "fit", "method": "Fit"}]}
        return parameters_of(config, specs_of(config), 0, run)

    assert of("/w/Output/a") == of("/w/Output/b") == {"fit.method": '"Fit"', "data": '"./inputs/data.csv"'}


def test_the_time_that_it_took_to_take_a_task_counts_in_no_forecast():
    ran = TaskState("load", "Load", TaskStatus.FINISHED, duration_s=60.0)
    taken = replace(ran, duration_s=0.01, reused_from="first")
    state = RunState(values={"tasks": [{"id": "load", "method": "Load"}]}, tasks=(ran,))
    assert summary_of(state).tasks[0].duration_s == 60.0
    assert summary_of(replace(state, tasks=(taken,))).tasks[0].duration_s is None
