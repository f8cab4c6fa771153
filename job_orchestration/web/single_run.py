"""A process that executes one queued run and ends: what `testfn` starts."""

from __future__ import annotations

import sys

from job_orchestration.commands.run_here import run_here
from job_orchestration.runs import token, token_header
from job_orchestration.workspace import layout


def main() -> None:
    """Execute the run that the arguments name, after its workspace."""
    root, run = sys.argv[1:3]
    workspace = layout.prepare(root)
    for found in token.scan(workspace.to_run):
        if token_header.run_of(found.path) == run:
            run_here(workspace, {run: found.name.stem}, lambda _: None, lambda _: None)
            return
