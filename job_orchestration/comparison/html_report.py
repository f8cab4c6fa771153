"""What differs between runs, as one HTML page that needs no other file, no script and no network. Pure.

Names, values and lines of code come from configs, tasks and repositories. All of them are escaped, for a
terminal first (control characters) and then for HTML, and the page allows itself only its own style.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.comparison import values
from job_orchestration.config import json_floats
from job_orchestration.diagnostics import durations
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.comparison.code_changes import CodeChanges, FileChange
    from job_orchestration.comparison.difference import Difference
    from job_orchestration.comparison.values import ValueChange

TITLES: Final = {
    "parameters": "Parameters",
    "settings": "Settings of the run",
    "packages": "Packages",
    "environment": "Environment",
    "inputs": "Inputs",
    "results": "Results",
}
"""The parts of a difference that are lists of values."""
_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
body { color: #1b1b1b; background: #fff }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; overflow-wrap: anywhere }
th, td { border-bottom: 1px solid #ddd }
pre { overflow-x: auto; background: #f6f6f6; padding: .6rem; font-size: 13px }
.added { color: #106b21 } .removed { color: #a1151b } .place { color: #555 } .absent { color: #777 }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #161616 } th, td { border-color: #3a3a3a } pre { background: #222 }
  .added { color: #7fd48d } .removed { color: #ff8f8f } .place, .absent { color: #aaa }
}
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_SIGNS: Final = {"+": "added", "-": "removed", "@": "place"}


def of_pair(found: Difference) -> str:
    """Return the page about two runs."""
    title = f"{found.before} → {found.after}"
    parts: list[str] = [f"<p><strong>{_text(found.verdict)}.</strong></p>"]
    for part, heading in TITLES.items():
        parts += _changes(heading, found, getattr(found, part), is_result=part == "results")
        if part == "parameters":
            parts += [*_code(found.code), *_tasks(found.code)]
    parts += _spans(found.durations)
    parts += _changes("Usage of the tasks", found, found.usage)
    return _document(title, parts)


def of_code(run: str, code: CodeChanges) -> str:
    """Return the page about a run and a work tree."""
    return _document(run, _code(code) or ["<p>The code is the same.</p>"])


def of_many(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page about more than two runs: the rows of `difference.of_many`."""
    head = "".join(f"<th>{_text(name)}</th>" for name in rows[0])
    body = (f"<tr>{''.join(f'<td>{_value(value)}</td>' for value in row.values())}</tr>" for row in rows)
    return _document("What differs", [f"<table><tr>{head}</tr>", *body, "</table>"])


def _document(title: str, parts: Iterable[str]) -> str:
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            *parts,
            "</body></html>",
        ]
    )


def _changes(
    heading: str, found: Difference, changes: Sequence[ValueChange], *, is_result: bool = False
) -> Iterator[str]:
    if not changes:
        return
    yield f"<h2>{_text(heading)}</h2><table>"
    yield f"<tr><th></th><th>{_text(found.before)}</th><th>{_text(found.after)}</th><th></th></tr>"
    for change in changes:
        before = '<span class="absent">absent</span>' if change.added else _value(change.before)
        after = '<span class="absent">absent</span>' if change.removed else _value(change.after)
        notes = [f"{change.relative:+.2%}"] if change.relative is not None else []
        better = found.better(change) if is_result else None
        notes += [] if better is None else ["better" if better else "worse"]
        cells = (_text(change.name), before, after, _text(", ".join(notes)))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _spans(changes: Sequence[ValueChange]) -> Iterator[str]:
    both = [(c.name, a, b) for c in changes if (a := _seconds(c.before)) and (b := _seconds(c.after))]
    if both:
        yield "<h2>Durations of the tasks</h2><table>"
        yield from (f"<tr><td>{_text(name)}</td><td>{a}</td><td>{b}</td></tr>" for name, a, b in both)
        yield "</table>"


def _seconds(value: object) -> str | None:
    number = values.number(value)
    return None if number is None else _text(durations.text_of(number))


def _code(code: CodeChanges) -> list[str]:
    if code.before == code.after or not (code.files or code.fault or code.others):
        return []
    parts = [f"<h2>Code: {_text(code.before or 'none')} → {_text(code.after or 'none')}</h2>"]
    if code.fault:
        return [*parts, f"<p>{_text(code.fault)}</p>"]
    for file in code.files:
        parts += _file(file)
    if code.others:
        parts.append(f"<p>{code.others} more files have changed that no task of these runs imported.</p>")
    return parts


def _tasks(code: CodeChanges) -> Iterator[str]:
    """Return what differs in the code of tasks that ran before a retry in other code."""
    for task in code.tasks:
        files = ", ".join(map(_text, task.files)) or "their files are unknown"
        pair = f"{_text(task.before[:12])} → {_text(task.after[:12])}"
        yield f"<p>Code of the task {_text(task.task)}: {pair}, {files}</p>"


def _file(file: FileChange) -> Iterator[str]:
    lines = "not text" if file.added is None else f"{file.added} added, {file.removed} removed"
    yield f'<details open=""><summary>{_text(file.path)} ({file.status}; {lines})</summary><pre>'
    yield "\n".join(map(_line, file.patch))
    yield "</pre></details>"


def _line(line: str) -> str:
    kind = _SIGNS.get(line[:1])
    text = html.escape(line)  # its control characters are escaped already, tabs stay
    return f'<span class="{kind}">{text}</span>' if kind else text


def _value(value: object) -> str:
    return _text(value if isinstance(value, str) else json_floats.text_of(value))


def _text(text: str) -> str:
    return html.escape(escaped(text))
