"""Rows, tables, and what they are in the formats of other programs."""

import csv
import io
import json
import math
import statistics
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from job_orchestration.results import tables, text_formats
from job_orchestration.results.result_rows import MOST_KEYS, columns_meant, flattened, row_of
from job_orchestration.results.tables import Table
from job_orchestration.runs.events import Outcome
from job_orchestration.runs.state import RunState, Status, TaskState, TaskStatus
from job_orchestration.workspace.layout import Place

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


def row(*tasks, place=Place.COMPLETED, saved=(), **values):
    state = RunState(
        status=Status.COMPLETE,
        values={"outputDir": "a", "maxAttempts": 3, **values},
        tasks=tasks,
        started_at="2026-11-20T05:00:00+00:00",
        ended_at="2026-11-20T05:00:30+00:00" if place is Place.COMPLETED else None,
        outcome=Outcome.OK,
    )
    return row_of("a", "a", place, state, saved, now=NOW)


def finished(name, result):
    return TaskState(name, "M", TaskStatus.FINISHED, result=result)


def table(*rows):
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    whole = tuple({column: row.get(column) for column in columns} for row in rows)
    return Table(columns, whole, columns, columns)


def test_a_row_has_facts_parameters_and_results_and_nothing_of_how_a_run_is_treated():
    spec = {"id": "train", "method": "Train", "epochs": 5, "timeout": "1h"}
    found = row(finished("train", {"acc": 0.9}), model={"kind": "Conv", "sizes": [1, 2]}, tasks=[spec])
    assert found.parameters == {
        "model.kind": "Conv",
        "model.sizes": [1, 2],
        "train.method": "Train",
        "train.epochs": 5,
    }
    assert found.results == {"train.acc": 0.9}
    assert found.facts["elapsed_s"] == 30.0
    assert row(place=Place.RUNNING).facts["elapsed_s"] == 3600.0
    assert row(place=Place.INTERRUPTED).facts["elapsed_s"] is None


def test_what_is_not_finished_has_no_result():
    going = TaskState("train", "M", TaskStatus.RUNNING, result=5)
    assert row(finished("load", 7), going).results == {"load": 7}
    assert row(finished("load", None)).results == {}


def test_columns_that_are_taken_get_another_name_and_equal_ones_are_one():
    found = row(
        finished("train", {"acc": 0.9, "epochs": 4}),
        saved=[("train", {"acc": 0.9, "epochs": 3}), ("", {"acc": 1, "lr": 2})],
        run="mine",
        tasks=[{"id": "train", "method": "T", "epochs": 5}],
        lr=1,
    )
    assert found.facts["run"] == "a"
    assert found.parameters["config.run"] == "mine"
    assert found.results == {
        "train.acc": 0.9,
        "result.train.epochs": 4,
        "result.result.train.epochs": 3,
        "acc": 1,
        "result.lr": 2,
    }


def test_large_and_deep_mappings_stay_one_cell():
    large = dict.fromkeys(map(str, range(MOST_KEYS + 1)), 0)
    assert flattened("x", large) == [("x", large)]
    deep = 1
    for _ in range(50):
        deep = {"d": deep}
    assert len(flattened("x", deep)[0][0].split(".")) < 10
    assert flattened("", [1]) == [("results", [1])]


def test_a_column_may_be_named_by_its_last_parts():
    assert columns_meant("acc", ["train.acc", "test.acc", "acc"]) == ["acc"]
    assert columns_meant("acc", ["train.acc", "test.acc", "tacc"]) == ["train.acc", "test.acc"]
    assert columns_meant("train.acc", ["train.acc"]) == ["train.acc"]


def test_people_see_what_differs_and_programs_see_everything():
    found = tables.table_of([row(finished("t", 1), lr=1, model="x"), row(finished("t", 2), lr=2, model="x")])
    assert found.shown == ("run", "lr", "t", "elapsed_s")
    assert {"model", "place", "commit"} <= set(found.columns)


def test_people_see_each_figure_once_and_no_hash():
    rows = [
        row(finished("t", {"auc": n, "loss": 1 - n, "sha": "a" * 64}), saved=[("", {"auc": n})])
        for n in (1, 2)
    ]
    found = tables.table_of(rows)
    assert found.shown == ("run", "t.loss", "auc", "elapsed_s")
    assert {"t.auc", "t.sha"} <= set(found.columns)
    other = row(finished("t", {"auc": 4}), saved=[("", {"auc": 3})])
    assert tables.table_of([*rows, other]).shown == ("run", "t.auc", "t.loss", "auc", "elapsed_s")


def test_a_task_that_returns_the_summary_hides_what_the_other_tasks_of_the_run_returned():
    summary = {"gene_set": "x", "cv": [1, 2]}
    with_summary = row(finished("load", {"n": 3}), finished("save", summary), saved=[("", summary)])
    without = row(finished("train", {"auc": 1}))
    assert tables.table_of([with_summary]).shown == ("run", "gene_set", "cv", "elapsed_s")
    mixed = tables.table_of([without, with_summary])
    assert mixed.shown == ("run", "gene_set", "cv", "train.auc", "elapsed_s")
    assert "load.n" in mixed.columns


def test_of_a_list_people_see_the_first_three_entries():
    assert text_formats.short([1, 2, 3]) == "[1, 2, 3]"
    assert text_formats.short(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert text_formats.cell(["a", "b", "c", "d"]) == '["a", "b", "c", "d"]'


def test_a_method_is_a_parameter_only_if_it_differs_for_the_same_task():
    def entry(method):
        return [{"id": "t", "method": method}]

    assert "t.method" not in tables.table_of([row(tasks=entry("A")), row(lr=1)]).shown
    assert "t.method" in tables.table_of([row(tasks=entry("A")), row(tasks=entry("B"))]).shown


@given(st.lists(scalars, min_size=1), st.booleans())
def test_sorting_keeps_all_rows_and_puts_what_is_missing_last(cells, descending):
    found = tables.sorted_by(table(*({"x": c} for c in cells)), "x", descending=descending)
    ordered = [row["x"] for row in found.rows]
    assert sorted(map(repr, ordered)) == sorted(map(repr, cells))
    missing = [repr(x) in {"None", "nan"} for x in ordered]
    assert missing == sorted(missing)
    numbers = [x for x in ordered if tables.number_in(x) is not None]
    assert numbers == sorted(numbers, reverse=descending)


def test_the_best_has_the_highest_number_and_none_is_no_number():
    found = table({"x": 1}, {"x": None}, {"x": math.nan}, {"x": "9"}, {"x": 3}, {"x": True}, {"x": 2})
    assert [row["x"] for row in tables.best(found, "x").rows] == [3, 2, 1]
    assert [row["x"] for row in tables.best(found, "x", lowest=True).rows] == [1, 2, 3]


finite = st.integers(-100, 100) | st.floats(-100, 100)


@given(st.lists(st.tuples(st.sampled_from([1, 1.0, "a", None, True]), finite | st.none()), min_size=1))
def test_groups_have_the_figures_of_their_members(pairs):
    found = tables.grouped(table(*({"k": k, "x": x} for k, x in pairs)), ["k"])
    assert sum(row["count"] for row in found.rows) == len(pairs)
    assert len(found.rows) == len({(isinstance(k, bool), k) for k, _ in pairs})
    for line in found.rows:
        same = [
            (k, x) for k, x in pairs if k == line["k"] and isinstance(k, bool) == isinstance(line["k"], bool)
        ]
        numbers = [x for _, x in same if x is not None]
        assert line["count"] == len(same)
        if any(x is not None for _, x in pairs):
            assert line["x.min"] == (min(numbers) if numbers else None)
            assert line["x.max"] == (max(numbers) if numbers else None)
            assert line["x.mean"] == (pytest.approx(statistics.fmean(numbers)) if numbers else None)
            assert (line["x.std"] is None) == (len(numbers) < 2)


@given(st.lists(st.tuples(values, values)))
def test_what_csv_says_comes_back(rows):
    written = table(*({"a": a, "=b,": b} for a, b in rows)) if rows else table({"a": 1, "=b,": 2})
    text = "".join(f"{line}\n" for line in text_formats.csv_lines(written))
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert [text_formats.unshielded(name) for name in header] == ["a", "=b,"]
    back = [[text_formats.unshielded(cell) for cell in line] for line in lines]
    assert back == [[text_formats.cell(row[c]) for c in written.columns] for row in written.rows]


@given(st.text())
def test_no_text_is_a_formula_for_a_spreadsheet(text):
    shielded = text_formats.shielded(text)
    assert text_formats.unshielded(shielded) == text
    begins = shielded[:1] in set("=+-@\t\r")
    assert not begins or (shielded == text and isinstance(float(text), float))


def test_an_empty_cell_alone_is_still_a_line():
    text = "\n".join(text_formats.csv_lines(table({"a": None}, {"a": 1})))
    assert list(csv.reader(io.StringIO(text))) == [["a"], [""], ["1"]]


@given(values)
def test_json_is_strict(value):
    (line,) = text_formats.json_rows(table({"x": value}))
    assert "x" in json.loads(json.dumps(line, allow_nan=False))


def test_markdown_keeps_a_cell_in_its_cell():
    lines = list(text_formats.markdown_lines(["a|b"], [{"a|b": "x\n|<i>\x1b[31m"}]))
    assert lines == ["| a\\|b |", "| --- |", "| x \\|\\<i>\\\\x1b[31m |"]


@pytest.mark.parametrize(("width", "columns"), [(24, 2), (60, 3)])
def test_a_terminal_shows_as_many_columns_as_fit_and_names_the_others(monkeypatch, capsys, width, columns):
    from job_orchestration.cli.results import show_on_terminal

    monkeypatch.setenv("COLUMNS", str(width))
    show_on_terminal(table({"run": "größe/界", "accuracy": 0.123456789, "evil": "\x1b[31m[red]"}))
    printed = capsys.readouterr().out
    assert all(cell_len(line) <= width for line in printed.splitlines())
    assert printed.splitlines()[0].split() == ["run", "accuracy", "evil"][:columns]
    assert ("0.123457" in printed, "\x1b" in printed) == (True, False)
    assert ("and 1 more: evil" in printed) == (columns == 2)


def test_the_first_rows_have_no_column_that_says_nothing_of_them():
    whole = table(
        {"run": "a", "x.method": "A", "lr": 0.1, "auc": 0.9, "loss": None},
        {"run": "b", "x.method": None, "lr": 0.2, "auc": 0.8, "loss": None},
        {"run": "c", "x.method": "B", "lr": 0.2, "auc": 0.7, "loss": 3},
    )
    assert whole.first(2).shown == ("run", "lr", "auc")
    assert whole.first(3).shown == whole.shown
    assert whole.first(2).columns == whole.columns, "of programs nothing is hidden"
