"""Parts of a log: which lines belong to a task, to a try, and to an error."""

from __future__ import annotations

import pytest

from job_orchestration.commands.log_extracts import ErrorFilter, Extract, Extractor, lines_in

STAMP = "2026-11-20 10:00:00,000"


def start(task: str) -> str:
    return f"{STAMP} [INFO ]  Running task with id: {task}"


def extract(text: str, wanted: Extract) -> list[str]:
    extractor = Extractor(wanted)
    found = [line for part in lines_in([text]) if part is not None for line in extractor.add(part)]
    return [*found, *extractor.release()]


def errors(text: str) -> list[str]:
    found = ErrorFilter()
    return [line for given in text.splitlines() for line in found.add(given)]


LOG = "\n".join(
    [
        *(start("load"), "loading", start("train"), "first", f"{STAMP} [ERROR]  first error"),
        *(start("train"), "second", f"{STAMP} [ERROR]  second error"),
    ]
)


def test_a_task_has_the_lines_from_its_start_to_the_next_start() -> None:
    assert extract(LOG, Extract(task="load")) == [start("load"), "loading"]
    assert extract(LOG, Extract(task="train", number=1))[1:] == ["first", f"{STAMP} [ERROR]  first error"]
    assert extract(LOG, Extract(number=2))[:2] == [start("train"), "second"]
    assert extract(LOG, Extract(task="tra")) == []


def test_errors_are_those_of_the_last_try_of_each_task() -> None:
    assert extract(LOG, Extract(errors=True)) == [f"{STAMP} [ERROR]  second error"]
    assert extract(LOG, Extract(errors=True, number=1)) == [f"{STAMP} [ERROR]  first error"]
    failed_import = "Traceback (most recent call last):\n  File 'x'\nImportError: x\n"
    assert extract(failed_import + LOG, Extract(errors=True)) == [f"{STAMP} [ERROR]  second error"]


def test_the_last_lines_are_counted_in_what_is_shown() -> None:
    assert extract(LOG, Extract(lines=1, task="load")) == ["loading"]
    assert extract(LOG, Extract(lines=0, task="load")) == []
    assert extract(LOG, Extract(lines=99, task="load")) == [start("load"), "loading"]


def test_when_all_is_read_what_was_held_is_shown_and_then_each_line_at_once() -> None:
    extractor = Extractor(Extract(lines=1, errors=True))
    assert list(extractor.add("x ERROR one")) + list(extractor.add("x ERROR two")) == []
    assert list(extractor.release()) == ["x ERROR two"]
    assert list(extractor.add("x ERROR three")) == ["x ERROR three"]
    assert list(extractor.release()) == []


def test_an_id_with_what_a_pattern_means_is_a_plain_id() -> None:
    text = f"{start('a.b (c)')}\nx\n{start('aab')}\ny"
    assert extract(text, Extract(task="aab"))[1:] == ["y"]


@pytest.mark.parametrize(
    "record",
    [
        f"{STAMP} [ERROR]  it broke",
        f"{STAMP} [CRITI]  it broke",
        "ERROR:root:it broke",
        "CRITICAL:mine:it broke",
        "[2026-11-20 10:00:00] mine - ERROR - it broke",
        "[job_orchestration] Task t failed: SIGSEGV",
    ],
)
def test_a_record_of_an_error_is_known_in_the_formats_that_people_use(record: str) -> None:
    assert errors(f"before\n{record}\nafter\n{STAMP} [INFO ]  fine") == [record]


@pytest.mark.parametrize(
    "line", ["no ERRORS here", "an error", "terror", f"{STAMP} [WARNI]  careful", "x" * 90 + " ERROR"]
)
def test_what_only_looks_like_an_error_is_none(line: str) -> None:
    assert errors(line) == []


CHAIN = """\
Traceback (most recent call last):
  File "Tasks.py", line 2, in run
    int("x")
ValueError: first

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "Tasks.py", line 4, in run
RuntimeError: second"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "Tasks.py", line 2, in run
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: a
    +------------------------------------"""
STACK = """\
Fatal Python error: Segmentation fault

Current thread 0x00007fcc25898b80 (most recent call first):
  File "Tasks.py", line 27 in run

Thread 0x00007fcc25898b81 (most recent call first):
  File "Tasks.py", line 3 in other"""


@pytest.mark.parametrize("text", [CHAIN, GROUP, STACK])
def test_a_traceback_is_kept_whole_and_what_follows_is_not(text: str) -> None:
    assert "\n".join(errors(f"epoch 1\n{text}\nepoch 2\nepoch 3")).rstrip() == text


def test_a_message_of_several_lines_is_kept_if_the_task_failed_with_it() -> None:
    message = "\nline two\n\nline four"
    failed = f"{STAMP} [ERROR]  Task t failed: RuntimeError: second line two line four"
    assert errors(f"{CHAIN}{message}\n{failed}") == f"{CHAIN}{message}\n{failed}".splitlines()
    assert errors(f"{CHAIN}{message}\n{STAMP} [ERROR]  other") == [
        *CHAIN.splitlines(),
        f"{STAMP} [ERROR]  other",
    ]


def test_lines_are_put_together_from_pieces_as_a_terminal_shows_them() -> None:
    assert list(lines_in(["a", "b\nc", "\r\n", "1/2", "\r   \r2/2\n", None, "rest"])) == [
        *("ab", "c", "2/2", None, "rest"),
    ]
    assert list(lines_in(["half\r    \r"])) == []
