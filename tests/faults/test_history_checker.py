"""The judge of the storms is judged: a true history passes, and each kind of lie is named."""

from __future__ import annotations

import copy

import pytest

from tests.faults import history_checker
from tests.faults.history_checker import Evidence, Note

TASKS = ("one", "two")


def line(seq, event, **words):
    return {"seq": seq, "at": "2026-01-01T00:00:00.000000+00:00", "event": event, **words}


def started(seq, task):
    return line(seq, "task_started", task=task, number=1)


def finished(seq, task, pid):
    return line(seq, "task_finished", task=task, result={"pid": pid})


def claimed(attempt, **builds_on):
    return line(1, "claimed", attempt=attempt, worker="w", builds_on={k[1:]: n for k, n in builds_on.items()})


def execution(task, attempt, pid, began, *, end=True, fork_server=7):
    last = [Note("end", "r", task, attempt, pid, fork_server, began + 5)] if end else []
    return [
        Note("start", "r", task, attempt, pid, fork_server, began),
        Note("tick", "r", task, attempt, pid, fork_server, began + 4),
        *last,
    ]


@pytest.fixture
def true():
    """Attempt 1 finished one and was killed in two; attempt 2 died before a word; attempt 3 finished two."""
    lines = {
        0: [line(1, "readied")],
        1: [claimed(1, a0=1), started(2, "one"), finished(3, "one", 11), started(4, "two")],
        2: [],
        3: [claimed(3, a0=1, a1=4), started(2, "two"), finished(3, "two", 13), line(4, "completed")],
    }
    notes = [
        *execution("one", 1, 11, 100),
        *execution("two", 1, 11, 200, end=False),
        *execution("two", 3, 13, 300, fork_server=8),
    ]
    return Evidence({"r": lines}, notes)


def test_a_true_history_passes(true):
    assert history_checker.violations(true, TASKS) == []


def lie(name):
    """Registers a way to falsify a history, and what must be said of it."""

    def keep(function):
        LIES[name] = function
        return function

    return keep


LIES = {}


@lie("finished 2 times")
def _(lines, notes):
    lines[1].append(finished(5, "two", 11))
    lines[3][0]["builds_on"]["1"] = 5


@lie("finished 0 times")
def _(lines, notes):
    del lines[3][2:]


@lie("started by attempt 3 after it had finished")
def _(lines, notes):
    lines[3][1]["task"] = "one"
    lines[3].insert(2, started(3, "two"))


@lie("and not first and once")
def _(lines, notes):
    lines[3].insert(0, started(1, "two"))


@lie("says that it is attempt 2")
def _(lines, notes):
    lines[3][0]["attempt"] = 2


@lie("went on to write after attempt 3 had begun")
def _(lines, notes):
    lines[1].append(line(5, "task_failed", task="two"))


@lie("builds on 6 events of attempt 1, which has 4")
def _(lines, notes):
    lines[3][0]["builds_on"]["1"] = 6


@lie("is not numbered from 1 on")
def _(lines, notes):
    lines[3][3]["seq"] = 9


@lie("overlap by")
def _(lines, notes):
    notes.append(Note("tick", "r", "two", 1, 11, 7, 303))


@lie("one of attempt 1 in process 11 and two of attempt 3 in process 13 overlap")
def _(lines, notes):
    notes.append(Note("tick", "r", "one", 1, 11, 7, 302))  # another one lies between the two


@lie("attempt 1 went on after attempt 3 had begun")
def _(lines, notes):
    notes += execution("two", 1, 12, 400, end=False)
    lines[1].insert(3, started(4, "two"))


@lie("two ran once more")
def _(lines, notes):
    notes += execution("two", 3, 14, 400, fork_server=8)
    lines[3].append(started(5, "two"))


@lie("which never came to its end")
def _(lines, notes):
    notes[:] = [n for n in notes if (n.attempt, n.kind) != (3, "end")]


@lie("before one had a checkpoint")
def _(lines, notes):
    lines[1][2], lines[1][3] = lines[1][3], lines[1][2]


@lie("ran without a checkpoint of one")
def _(lines, notes):
    lines[3].insert(1, lines[1].pop(2))


@lie("ran without a word in the journal")
def _(lines, notes):
    notes += execution("two", 1, 12, 250, end=False)


@lie("attempt 3 ran in 2 hosts")
def _(lines, notes):
    notes[-1] = notes[-1]._replace(pid=14, fork_server=9)


@lie("attempt 2 ran and had never claimed")
def _(lines, notes):
    notes += execution("two", 2, 12, 250, end=False)


@lie("its first file is not one readied")
def _(lines, notes):
    lines[0].append(line(2, "readied"))


@pytest.mark.parametrize("lie", LIES)
def test_a_false_history_is_found_out(true, lie):
    false = copy.deepcopy(true)
    LIES[lie](false.journals["r"], false.notes)
    assert any(lie.strip() in word for word in history_checker.violations(false, TASKS)), (
        history_checker.violations(false, TASKS)
    )


def test_notes_of_nobodys_run_are_found_out(true):
    true.notes += [n._replace(run="other") for n in true.notes]
    assert history_checker.violations(true, TASKS) == ["other: notes of a run that has no journal"]


def test_what_a_stale_holder_wrote_is_no_violation_where_that_may_happen(true):
    true.journals["r"][1].append(finished(5, "two", 11))
    assert history_checker.violations(true, TASKS)
    assert history_checker.violations(true, TASKS, stale=True) == []


def test_half_a_line_counts_for_nothing(tmp_path):
    folder = tmp_path / "Output" / "r" / "journal"
    folder.mkdir(parents=True)
    (folder / "000001.jsonl").write_bytes(b'{"event": "cla\n{"event": "claimed"}\n[1]\n{"event": "task_st')
    notes = tmp_path / "notes"
    notes.write_text("start r one 1 11 7 100\nend r on")
    found = history_checker.read(tmp_path, notes, ["r"])
    assert found.journals == {"r": {1: [{"event": "claimed"}]}}
    assert found.notes == [Note("start", "r", "one", 1, 11, 7, 100)]
