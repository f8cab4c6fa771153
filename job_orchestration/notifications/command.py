"""The notifier `command`: run a program with the notification as JSON on standard input and as variables."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.notifications.notification import text_of

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.notifications.notification import Notification

_MOST_CHARACTERS = 3_000
"""Of a program's last line. It is cut short after secrets were masked: half of one would not be found."""
PREFIX = "NOTIFICATION_"
"""Prefix of the environment variables of the program."""


class CommandNotifier:
    """Run a program without a shell; exit code 0 is success.

    Args:
        target: a list of words, or a text that is split into words as in a shell.

    Raises:
        NotifierError: the program does not exist on this machine.
    """

    def __init__(self, target: Json) -> None:
        try:
            words = [str(w) for w in target] if isinstance(target, list) else shlex.split(str(target))
        except ValueError as error:
            raise NotifierError(f"the command cannot be split into words: {error}", "Write a list") from None
        program = shutil.which(os.path.expanduser(words[0])) if words else None
        if program is None:
            name = os.path.basename(words[0]) if words else ""
            raise NotifierError(f"there is no program {name!r} here", "Install it, or write its full path")
        self._words = [program, *words[1:]]

    def send(self, notification: Notification) -> None:
        """Run the program.

        Raises:
            NotifierError: its exit code is not 0.
        """
        facts = {**notification.as_json(), "text": text_of(notification)}
        words = [self._words[0], *(_filled(word, facts) for word in self._words[1:])]
        values = {k: v for k, v in facts.items() if isinstance(v, (str, int, float))}
        done = subprocess.run(
            words,
            input=f"{json.dumps(facts)}\n",
            env={**os.environ, **{f"{PREFIX}{k.upper()}": str(v) for k, v in values.items()}},
            cwd=notification.workspace if os.path.isdir(notification.workspace) else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "")
            last = last[:_MOST_CHARACTERS]
            how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            raise NotifierError(f"{os.path.basename(words[0])} ended with {how}{': ' if last else ''}{last}")


def _filled(word: str, facts: dict[str, object]) -> str:
    """Replace ``{title}`` and the other fields in a word, once: inserted values are not expanded again."""
    parts = word.split("{")
    filled = parts[:1]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        known = closed and name in facts
        filled.append(f"{'' if facts[name] is None else facts[name]}{rest}" if known else f"{{{part}")
    return "".join(filled)
