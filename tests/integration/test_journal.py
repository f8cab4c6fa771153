"""Journals: what is written is what is read, and what is not whole never was."""

from __future__ import annotations

import json
import os
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_orchestration.runs import journal
from job_orchestration.runs.event_codec import decode, encode
from job_orchestration.runs.events import (
    Cancelled,
    Claimed,
    Code,
    Completed,
    GaveUp,
    HandedBack,
    JournalEntry,
    Outcome,
    OutputFile,
    Readied,
    Requeued,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from job_orchestration.runs.journal import Writer
from job_orchestration.workspace import durable

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
counts = st.integers(0, 10**6)
some_events = st.one_of(
    st.builds(
        Readied,
        texts,
        texts,
        st.dictionaries(texts, json_values, max_size=3),
        st.integers(),
        st.none() | st.builds(Code, texts, texts, texts),
    ),
    st.builds(Claimed, counts, texts, texts, counts, st.dictionaries(counts, counts, max_size=4)),
    st.builds(TaskStarted, texts, counts),
    st.builds(
        TaskFinished,
        texts,
        numbers,
        json_values,
        st.none() | texts,
        st.lists(st.builds(OutputFile, texts, counts, texts), max_size=3).map(tuple),
    ),
    st.builds(
        TaskFailed,
        texts,
        st.sampled_from(Outcome),
        texts,
        st.none() | numbers,
        st.booleans(),
        st.none() | numbers,
    ),
    st.builds(Cancelled, texts),
    st.builds(Requeued, texts),
    st.builds(HandedBack, texts, st.none() | texts),
    st.just(Completed()),
    st.builds(GaveUp, texts, st.sampled_from(Outcome)),
)
moments = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat(timespec="microseconds"))
some_entries = st.builds(JournalEntry, st.integers(1, 10**9), moments, some_events)
AT = "2030-01-01T12:00:00.000000+00:00"


@pytest.fixture
def run(tmp_path):
    """A run's folder with an empty journal."""
    folder = tmp_path / "run"
    (folder / "journal").mkdir(parents=True)
    return folder


def writer_of(run: Path, attempt: int = 1) -> Writer:
    path = journal.path_of(str(run), attempt)
    return Writer(durable.create(path), path)


# -- one line -----------------------------------------------------------------------------------------------


@given(some_entries)
def test_every_event_is_read_as_it_was_written(entry):
    line = encode(entry)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == entry


@given(some_entries, st.integers(1))
def test_no_part_of_a_line_is_an_event(entry, length):
    line = encode(entry)
    assert decode(line[: length % (len(line) - 2)]) is None


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_is_no_event_is_nothing_and_no_error(line):
    assert decode(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "reincarnated"}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "completed", "unknown": 1}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "task_started", "task": "a"}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "gave_up", "reason": "r", "outcome": "x"}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": ["completed"]}',
        b'{"seq": "one", "at": "2030-01-01T12:00:00+00:00", "event": "completed"}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00", "event": "completed"}',
        b'{"seq": 1, "at": "noon", "event": "completed"}',
        b'{"seq": 1, "at": 12, "event": "completed"}',
        b'{"seq": 1, "at": "2030-01-01T12:00:00+00:00", "event": "task_started", "task": "a", "number": "b"}',
        b'{"at": "2030-01-01T12:00:00+00:00", "event": "completed"}',
        b"[" * 100_000,
    ],
)
def test_events_of_another_release_are_passed_over(line):
    assert decode(line) is None


def test_a_task_that_returned_false_returned_false():
    for result in (False, 0, "", [], {}, None):
        found = decode(encode(JournalEntry(1, AT, TaskFinished("a", 1.0, result))))
        assert found is not None
        assert type(found.event.result) is type(result)


def test_names_that_are_not_utf_8_can_be_written():
    (found,) = decode(
        encode(JournalEntry(1, AT, TaskFinished("a", 1.0, None, "a", (OutputFile("caf\udce9", 1, "x"),))))
    ).event.outputs
    assert found.path == "caf?"


# -- a file -------------------------------------------------------------------------------------------------


def test_events_are_numbered_and_only_the_durable_ones_are_synced(run, monkeypatch):
    made = []
    monkeypatch.setattr(
        durable, "intercept", lambda operation, call: (made.append(operation.name), call())[1]
    )
    writer = writer_of(run)
    writer.write(TaskStarted("a", 1))
    writer.write(TaskFinished("a", 1.0), sync=True)
    assert made == ["create", "append", "append", "fsync"]
    entries, torn = journal.read_file(str(run), 1)
    assert ([e.seq for e in entries], torn) == ([1, 2], False)
    os.close(writer.descriptor)


WHOLE = encode(JournalEntry(2, AT, Completed()))[:-1]
"""A line that lacks nothing but its end."""


@pytest.mark.parametrize(
    "rest",
    [b'{"seq": 2, "at": "2030-01-01T12:00:00+00:00", "event": "compl', b"{", b"\xff\xfe", b"\0" * 100, WHOLE],
)
def test_half_a_line_is_no_event_and_is_ended_before_the_next(run, rest):
    writer = writer_of(run)
    writer.write(TaskStarted("a", 1))
    durable.append(writer.descriptor, rest)
    assert journal.read_file(str(run), 1)[1]
    assert len(journal.read(str(run))[1]) == 1
    successor = Writer(writer.descriptor, writer.path)
    assert [e.seq for e in successor.resume(str(run), 1)] == [1]
    successor.write(Completed())
    entries, torn = journal.read_file(str(run), 1)
    assert ([e.seq for e in entries], torn) == ([1, 2], False)
    assert len(Path(writer.path).read_bytes().split(b"\n")) == 4
    os.close(writer.descriptor)


def test_a_whole_file_is_taken_over_without_a_change(run):
    writer = writer_of(run)
    writer.write(TaskStarted("a", 1))
    before = Path(writer.path).read_bytes()
    assert len(writer.resume(str(run), 1)) == 1
    assert Path(writer.path).read_bytes() == before
    os.close(writer.descriptor)


@given(entries=st.lists(some_entries, max_size=6), cut=st.integers(0))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_journal_that_is_cut_anywhere_holds_its_whole_lines(tmp_path, entries, cut):
    (tmp_path / "journal").mkdir(exist_ok=True)
    lines = [encode(entry) for entry in entries]
    data = b"".join(lines)
    data = data[: cut % (len(data) + 1)]
    (tmp_path / "journal" / "000001.jsonl").write_bytes(data)
    found, torn = journal.read_file(str(tmp_path), 1)
    assert found == entries[: data.count(b"\n")]
    assert torn == (not data.endswith(b"\n") and bool(data))


def test_a_journals_files_are_in_order_and_others_are_none_of_it(run):
    for name in (
        "000010.jsonl",
        "000002.jsonl",
        "1000000.jsonl",
        "000003.jsonl.bak",
        "3.jsonl",
        "x",
        ".000004.jsonl",
    ):
        (run / "journal" / name).touch()
    assert journal.attempts(str(run)) == [2, 10, 1_000_000]
    assert journal.attempts(str(run / "nowhere")) == []
    assert journal.read_file(str(run), 7) == ([], False)


def test_an_append_that_the_disk_cuts_short_is_an_error(run, monkeypatch):
    writer = writer_of(run)
    monkeypatch.setattr(durable, "_write", lambda descriptor, data: len(data) // 2)
    with pytest.raises(OSError, match="No space"):
        writer.write(Completed())
    assert writer.written == 0
    os.close(writer.descriptor)
