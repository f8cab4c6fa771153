"""Pages and tables in HTML: whatever the texts in them are, they stay texts."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from job_orchestration.api import html_tables
from job_orchestration.commands.status import StatusEntry
from job_orchestration.comparison import code_changes, difference, html_report
from job_orchestration.comparison.code_changes import CodeChanges, FileChange, TaskCode
from job_orchestration.comparison.difference import Side
from job_orchestration.runs.events import Code
from job_orchestration.runs.state import RunState, TaskState, TaskStatus
from job_orchestration.workspace.layout import Place

OURS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "strong", "details", "summary"}
OURS |= {"pre", "span", "table", "caption", "thead", "tbody", "tr", "th", "td"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    '"><a href="javascript:x">',
    "-->]]><!-- &lt;b&gt; &#60;b&#62;",
    "\x1b[31m\u202e\udcff\x00<b>",
    "{{7*7}}</pre></td>",
]


def texts_of(markup: str) -> str:
    """Check that a markup is well-formed and has no element or attribute but its own; return its texts."""
    markup = re.sub(r"<(meta[^>]*)>", r"<\1/>", markup.removeprefix("<!DOCTYPE html>"))
    root = ET.fromstring(f"<div>{markup}</div>")
    markup.encode()
    assert not [c for c in markup if not c.isprintable() and c not in "\n\t"]
    for element in root.iter():
        assert element.tag in OURS | {"div"}, element.tag
        assert {*element.attrib} <= {"class", "lang", "charset", "http-equiv", "content", "name", "open"}
    return "".join(root.itertext())


def side(text: str, number: int) -> Side:
    about = {"python": {"version": f"{text}{number}"}, "packages": {text: f"{text}{number}"}}
    task = TaskState(text, text, status=TaskStatus.FINISHED, commit=f"{text}{number}", duration_s=number)
    state = RunState(seed=1, values={f"{text}k": number}, code=Code(text, text, text), tasks=(task,))
    found = {text: number, f"{text}.list": [text], f"{text}{number}": {text: text}}
    return Side(f"{text}{number}", found, found, state, about, {text: True}, {text: f"{text}{number}"})


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_run_becomes_markup_on_a_page_about_differences(text: str) -> None:
    patch = (f"--- a/{text}", f"@@ {text}", f"-{text}", f"+{text}", text)
    printable = tuple(code_changes._printable(patch))
    file = FileChange(text, "changed", 1, 1, printable)
    tasks = (TaskCode(text, text, text, (text,)),)
    for code in (
        CodeChanges(f"{text}1", f"{text}2", (file,), 1, tasks=tasks),
        CodeChanges(text, None, fault=text),
    ):
        found = difference.between(side(text, 1), side(text, 2), code)
        assert "One" not in found.verdict
        texts_of(html_report.of_pair(found))
        texts_of(html_report.of_code(text, code))
    said = texts_of(html_report.of_many(difference.of_many([side(text, n) for n in (1, 2, 3)])))
    assert html_report.escaped(text) in said


def entry_of(text: str) -> StatusEntry:
    """An entry of which each text is this one."""
    values = dict.fromkeys(StatusEntry._fields)
    texts = dict.fromkeys(("run", "config", "status", "task", "error"), text)
    return StatusEntry(**{**values, **texts, "place": Place.FAILED})


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_run_becomes_markup_in_a_notebook(text: str) -> None:
    table = html_tables.table([text], [html_tables.cells(entry_of(text)), [text] * 7], text)
    assert html_tables.escaped(text) in texts_of(table)
