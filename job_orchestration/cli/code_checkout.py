"""`code` on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.commands.code_checkout import Checkout


def code(arguments: Namespace) -> int:
    """Make a clone of the code of a run, or print one of its files as it ran."""
    from job_orchestration.commands import code_checkout as command

    workspace = output.existing(arguments)
    if arguments.file is not None:
        if arguments.folder is not None or arguments.json:
            raise UsageError("--file prints the file alone", "Leave out DIR and --json")
        sys.stdout.buffer.write(command.file_of(workspace, arguments.run, arguments.file))
        sys.stdout.buffer.flush()
        return 0
    made = command.check_out(workspace, arguments.run, arguments.folder)
    if arguments.json:
        output.print_json(made.as_json())
    else:
        output.print_lines(_lines(made))
    return 0


def _lines(made: Checkout) -> Iterator[str]:
    yield f"{escaped(made.folder)}: the code of {escaped(made.run)}, commit {made.commit[:12]}"
    if made.captured_on is not None:
        head = made.captured_on[:12]
        yield f"The last commit holds what was not committed on {head}; see it with: git show"
    for task, commit in made.other_commits.items():
        yield f"The task {escaped(task)} ran in another commit: {commit[:12]}"
