"""`export` and `import` on the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped, named

if TYPE_CHECKING:
    from argparse import Namespace


def export(arguments: Namespace) -> int:
    """Write ended runs into a folder or an archive."""
    from job_orchestration.commands.export import export as write
    from job_orchestration.diagnostics import sizes

    workspace = output.prepared(arguments)
    found = write(workspace, output.selected(arguments), arguments.to, ro_crate=arguments.ro_crate)
    if arguments.json:
        output.print_json(found.as_json())
        return 0
    runs = counted(len(found.runs), "run")
    print(f"{escaped(found.path)}: {runs}, {found.files} files, {sizes.text_of(found.bytes)}")
    if found.left_out:
        print(f"Left out, as no plain files: {escaped(named(found.left_out))}")
    if not found.path.lower().endswith(".zip"):
        import shlex

        words = [os.path.join(found.path, "run.py"), *found.runs[: len(found.runs) > 1]]
        command = " ".join(shlex.quote(escaped(word)) for word in words)
        print(f"Run it again without job_orchestration: python {command}")
    return 0


def import_(arguments: Namespace) -> int:
    """Take the runs of an export into this workspace."""
    from job_orchestration.commands.import_runs import import_runs

    found = import_runs(output.prepared(arguments), arguments.path)
    if arguments.json:
        output.print_json(found.as_json())
    else:
        for one in found.runs:
            if one.run is not None:
                renamed = "" if one.run == one.original else f" as {escaped(one.run)}"
                print(f"{escaped(one.original)}: imported{renamed}")
            elif one.fault is not None:
                print(f"{one.fault.what}. {one.fault.todo}.")
    return 0 if found.is_complete else ExitCode.REFUSED
