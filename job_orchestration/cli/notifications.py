"""`notify` on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from job_orchestration.commands.notify import NotificationStatus, RecipientStatus


def notify(arguments: Namespace) -> int:
    """Show recipients and the outbox; or send a test message; or deliver the outbox."""
    from job_orchestration.commands import notify

    workspace = output.existing(arguments)
    if arguments.deliver:
        counts, mine = notify.deliver(workspace, output.complain if arguments.json else output.say)
        if arguments.json:
            print(json.dumps({"delivered": counts["delivered"], "failed": counts["failed"]}))
        elif not mine:
            output.say("Another process is delivering.")
        elif not counts:
            output.say("The outbox is empty.")
        return ExitCode.WORKSPACE_ERROR if counts["failed"] else 0
    find = notify.try_out if arguments.test else notify.notify
    found = find(workspace, arguments.config)
    if arguments.json:
        output.print_json(found.as_json())
    else:
        output.print_lines(_lines_of(found))
    return ExitCode.WORKSPACE_ERROR if any(recipient.error for recipient in found.recipients) else 0


def _lines_of(found: NotificationStatus) -> Iterator[str]:
    if not found.recipients:
        yield "No recipients configured. Add notify: to workspace.yaml or to a config."
    for recipient in found.recipients:
        yield escaped(f"{recipient.who}: {_how(recipient)}")
    if found.waiting or found.undelivered:
        yield f"{found.waiting} messages wait to be delivered, {found.undelivered} were given up"
        yield from (f"  {escaped(line)}" for line in found.log)


def _how(recipient: RecipientStatus) -> str:
    if not recipient.tried:
        return f"gets {', '.join(recipient.on)}"
    return "the test message was taken" if recipient.error is None else f"failed: {recipient.error}"
