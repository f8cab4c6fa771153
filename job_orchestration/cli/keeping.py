"""The verbs of house-keeping: what is shown of the schemas, of what can go, and of what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from job_orchestration.cli import render
from job_orchestration.files import workspace as workspaces
from job_orchestration.model.problem import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from job_orchestration.actions.gc import Collected, Item
    from job_orchestration.actions.restore import Kept
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.finding import Finding

_REFUSED: Final = 3
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_THOUSAND: Final = 1000


def _prepared(arguments: Namespace) -> Workspace:
    return workspaces.prepare(workspaces.locate(arguments.workspace).root)


def size(number: float) -> str:
    """Bytes as a person reads them."""
    unit = 0
    while number >= _THOUSAND and unit < len(_UNITS) - 1:
        number, unit = number / _THOUSAND, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"


def gc(arguments: Namespace) -> int:
    """Show what can go; with ``--yes`` let it go."""
    from job_orchestration.actions.gc import Collected, Wanted, collect, look
    from job_orchestration.rules.keeping import Policy

    policy = Policy(tuple(arguments.keep or ()), arguments.older_than)
    runs = tuple(arguments.runs)
    wanted = Wanted(runs, policy, arguments.empty_trash, arguments.statuses, arguments.filter)
    if arguments.yes:
        done = collect(_prepared(arguments), wanted)
    else:
        done = Collected(tuple(look(workspaces.locate(arguments.workspace), wanted)), (), ())
    if arguments.json:
        print(json.dumps(_collected_as_json(done, yes=arguments.yes), indent=2))
    else:
        for line in _collected(done, yes=arguments.yes):
            print(line)
    return _REFUSED if done.refused else 0


def _collected_as_json(done: Collected, *, yes: bool) -> dict[str, object]:
    from job_orchestration.actions import told

    return {
        "done": yes,
        "items": [item.as_json() for item in done.items],
        "bytes": sum(item.bytes for item in done.items if not item.to_trash),
        "bytes_to_trash": sum(item.bytes for item in done.items if item.to_trash),
        "refused": told.problems_as_json(done.refused),
        "mended": list(done.mended),
    }


def _collected(done: Collected, *, yes: bool) -> Iterator[str]:
    for run in done.mended:
        yield f"{escaped(run)}: was moved half-way before; it is back"
    yield from (str(problem) for problem in done.refused)
    if not done.items:
        yield "There is nothing that can go."
        return
    rows = [
        (str(i.kind), escaped(i.name), size(i.bytes), "trash" if i.to_trash else "gone") for i in done.items
    ]
    yield from render.table([("what", "name", "size", "to"), *rows])
    trashed = _total(done.items, to_trash=True)
    freed = f"{'Freed' if yes else 'Can be freed'}: {_total(done.items, to_trash=False)}"
    yield f"{freed}; to the trash, where restore finds it: {trashed}" if trashed else freed
    if not yes:
        yield "Nothing was changed. To do it, write the same with --yes."


def _total(items: Sequence[Item], *, to_trash: bool) -> str:
    found = [item.bytes for item in items if item.to_trash is to_trash]
    return size(sum(found)) if found or not to_trash else ""


def restore(arguments: Namespace) -> int:
    """Bring runs back, or show what there is to bring back."""
    from job_orchestration.actions import told
    from job_orchestration.actions.restore import restore as bring_back
    from job_orchestration.actions.restore import trashed

    if not arguments.runs:
        _show_trash(trashed(workspaces.locate(arguments.workspace)), as_json=arguments.json)
        return 0
    done = bring_back(_prepared(arguments), arguments.runs)
    if arguments.json:
        print(json.dumps({"runs": list(done.runs), "refused": told.problems_as_json(done.refused)}, indent=2))
    else:
        for run in done.runs:
            print(f"{escaped(run)}: is back")
        for problem in done.refused:
            print(problem)
    return _REFUSED if done.refused else 0


def _show_trash(kept: Sequence[Kept], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([k.as_json() for k in kept], indent=2))
    elif kept:
        rows = [(k.entry, escaped(k.run or k.config), size(k.bytes)) for k in kept]
        for line in render.table([("entry", "run", "size"), *rows]):
            print(line)
    else:
        print("The trash is empty.")


def doctor(arguments: Namespace) -> int:
    """Say what is wrong, and what is fine."""
    from job_orchestration.actions.doctor import doctor as look

    report = look(arguments.workspace)
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
        return 0
    print(f"job_orchestration {report.version}, {report.at}")
    rows = [(str(f.level), f.topic, _sentences(f)) for f in report.findings]
    for line in render.table([("", "", ""), *rows]):
        if line:
            print(line)
    print(", ".join(f"{number} {level}" for level, number in report.counts.items()))
    return 0


def _sentences(finding: Finding) -> str:
    return escaped(" ".join(f"{s}." for s in (finding.what, finding.todo) if s))


def schema(arguments: Namespace) -> int:
    """Print the JSON Schema of configs, or of the defaults; with ``--json`` or without."""
    from job_orchestration.rules import schema as schemas

    wanted = schemas.workspace_schema() if arguments.workspace_file else schemas.config_schema()
    print(json.dumps(wanted, indent=2))
    return 0
