"""`gc`, `restore`, `doctor` and `schema` on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from job_orchestration.cli import output, render
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics import sizes
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from job_orchestration.commands.gc import Collected, Item
    from job_orchestration.commands.restore import Kept
    from job_orchestration.diagnostics.problems import Diagnostic


def gc(arguments: Namespace) -> int:
    """List what can be deleted; with ``--yes`` delete it."""
    from job_orchestration.commands.gc import Collected, Wanted, collect, look
    from job_orchestration.housekeeping.retention import Policy

    policy = Policy(tuple(arguments.keep or ()), arguments.older_than)
    runs = tuple(arguments.runs)
    wanted = Wanted(runs, policy, arguments.empty_trash, arguments.statuses, arguments.filter)
    if arguments.yes:
        done = collect(output.prepared(arguments), wanted)
    else:
        done = Collected(tuple(look(output.existing(arguments), wanted)), (), ())
    if arguments.json:
        print(json.dumps(_collected_as_json(done, yes=arguments.yes), indent=2))
    else:
        for line in _collected(done, yes=arguments.yes):
            print(line)
    return ExitCode.REFUSED if done.refused else 0


def _collected_as_json(done: Collected, *, yes: bool) -> dict[str, object]:
    from job_orchestration.submission import reports

    return {
        "done": yes,
        "items": [item.as_json() for item in done.items],
        "bytes": sum(item.bytes for item in done.items if not item.to_trash),
        "bytes_to_trash": sum(item.bytes for item in done.items if item.to_trash),
        "refused": reports.problems_as_json(done.refused),
        "mended": list(done.mended),
    }


def _collected(done: Collected, *, yes: bool) -> Iterator[str]:
    for run in done.mended:
        yield f"{escaped(run)}: was moved half-way before; it is back"
    yield from (str(problem) for problem in done.refused)
    if not done.items:
        if not done.refused:
            yield "There is nothing that can go."
        return
    rows = [
        (str(i.kind), escaped(i.name), sizes.text_of(i.bytes), "trash" if i.to_trash else "gone")
        for i in done.items
    ]
    yield from render.table([("what", "name", "size", "to"), *rows])
    trashed = _total(done.items, to_trash=True)
    freed = f"{'Freed' if yes else 'Can be freed'}: {_total(done.items, to_trash=False)}"
    yield f"{freed}; to the trash, where restore finds it: {trashed}" if trashed else freed
    if not yes:
        yield "Nothing was changed. To do it, write the same with --yes."


def _total(items: Sequence[Item], *, to_trash: bool) -> str:
    found = [item.bytes for item in items if item.to_trash is to_trash]
    return sizes.text_of(sum(found)) if found or not to_trash else ""


def restore(arguments: Namespace) -> int:
    """Move runs out of the trash; without names, list the trash."""
    from job_orchestration.commands.restore import restore as restore_runs
    from job_orchestration.commands.restore import trashed
    from job_orchestration.submission import reports

    if not arguments.runs:
        _show_trash(trashed(output.existing(arguments)), as_json=arguments.json)
        return 0
    done = restore_runs(output.prepared(arguments), arguments.runs)
    if arguments.json:
        print(
            json.dumps({"runs": list(done.runs), "refused": reports.problems_as_json(done.refused)}, indent=2)
        )
    else:
        for run in done.runs:
            print(f"{escaped(run)}: is back")
        for problem in done.refused:
            print(problem)
    return ExitCode.REFUSED if done.refused else 0


def _show_trash(kept: Sequence[Kept], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([k.as_json() for k in kept], indent=2))
    elif kept:
        rows = [(k.entry, escaped(k.run or k.config), sizes.text_of(k.bytes)) for k in kept]
        for line in render.table([("entry", "run", "size"), *rows]):
            print(line)
    else:
        print("The trash is empty.")


def doctor(arguments: Namespace) -> int:
    """Check the workspace and the machine."""
    from job_orchestration.commands.doctor import doctor as look

    report = look(arguments.workspace)
    if arguments.json:
        print(json.dumps(report.as_json(), indent=2))
        return 0
    print(f"job_orchestration {report.version}, {report.at}")
    rows = [(str(f.level), f.topic, _sentences(f)) for f in report.diagnostics]
    for line in render.table([("", "", ""), *rows]):
        if line:
            print(line)
    print(", ".join(f"{number} {level}" for level, number in report.counts.items()))
    return 0


def _sentences(diagnostic: Diagnostic) -> str:
    return escaped(" ".join(f"{s}." for s in (diagnostic.what, diagnostic.todo) if s))


def schema(arguments: Namespace) -> int:
    """Print the JSON Schema of configs or of workspace.yaml; ``--json`` changes nothing."""
    from job_orchestration.config import json_schema
    from job_orchestration.search import sampler_plugins

    samplers = () if arguments.workspace_file else sampler_plugins.names()
    wanted = (
        json_schema.workspace_schema() if arguments.workspace_file else json_schema.config_schema(samplers)
    )
    print(json.dumps(wanted, indent=2))
    return 0
