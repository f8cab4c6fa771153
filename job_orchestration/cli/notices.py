"""The verb `notify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from job_orchestration.cli.verbs import _complain, _print, _print_json, _say, existing
from job_orchestration.model.problem import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.actions.notify import Notices, Told

_UNDELIVERED: Final = 4


def notify(arguments: Namespace) -> int:
    """Show who is told of what; or try it; or deliver what waits."""
    from job_orchestration.actions import notify as action

    workspace = existing(arguments)
    if arguments.deliver:
        counts, mine = action.deliver(workspace, _complain if arguments.json else _say)
        if arguments.json:
            print(json.dumps({"delivered": counts["delivered"], "failed": counts["failed"]}))
        elif not mine:
            _say("Somebody else delivers at this moment.")
        elif not counts:
            _say("Nothing waits to be told.")
        return _UNDELIVERED if counts["failed"] else 0
    find = action.try_out if arguments.test else action.notify
    found = find(workspace, arguments.config)
    if arguments.json:
        _print_json(found.as_json())
    else:
        _print(_lines_of(found))
    return _UNDELIVERED if any(told.error for told in found.recipients) else 0


def _lines_of(found: Notices) -> Iterator[str]:
    if not found.recipients:
        yield "Nobody is told of anything. Name somebody with notify: in workspace.yaml or in a config."
    for told in found.recipients:
        yield escaped(f"{told.who}: {_how(told)}")
    if found.waiting or found.undelivered:
        yield f"{found.waiting} messages wait to be delivered, {found.undelivered} were given up"
        yield from (f"  {escaped(line)}" for line in found.log)


def _how(told: Told) -> str:
    if not told.tried:
        return f"is told of {', '.join(told.on)}"
    return "the test message was taken" if told.error is None else f"failed: {told.error}"
