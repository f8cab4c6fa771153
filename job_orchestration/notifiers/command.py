"""`command`: runs a program, which gets the news as JSON on its standard input and in its environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from job_orchestration.model.errors import NotifierError
from job_orchestration.rules import notifying

if TYPE_CHECKING:
    from job_orchestration.model.news import News
    from job_orchestration.model.task import Json

PREFIX = "NEWS_"
"""How the variables begin that the program gets."""


class CommandNotifier:
    """Runs a program without a shell; it succeeds when that ends with exit code 0.

    Args:
        target: a list of words, or a text that is split into words as a shell does.

    Raises:
        NotifierError: there is no such program here.
    """

    def __init__(self, target: Json) -> None:
        try:
            words = [str(w) for w in target] if isinstance(target, list) else shlex.split(str(target))
        except ValueError as error:
            raise NotifierError(f"the command cannot be split into words: {error}", "Write a list") from None
        program = shutil.which(os.path.expanduser(words[0])) if words else None
        if program is None:
            name = os.path.basename(words[0]) if words else ""
            raise NotifierError(f"there is no program {name!r} here", "Install it, or write its whole path")
        self._words = [program, *words[1:]]

    def tell(self, news: News) -> None:
        """Run it.

        Raises:
            NotifierError: it ended with another exit code than 0.
        """
        facts = {**news.as_json(), "text": notifying.text_of(news)}
        words = [self._words[0], *(_filled(word, facts) for word in self._words[1:])]
        told = {k: v for k, v in facts.items() if isinstance(v, (str, int, float))}
        done = subprocess.run(
            words,
            input=f"{json.dumps(facts)}\n",
            env={**os.environ, **{f"{PREFIX}{k.upper()}": str(v) for k, v in told.items()}},
            cwd=news.workspace if os.path.isdir(news.workspace) else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            said = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "")
            how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            raise NotifierError(
                f"{os.path.basename(words[0])} ended with {how}{': ' if said else ''}{said[:300]}"
            )


def _filled(word: str, facts: dict[str, object]) -> str:
    """A word with ``{title}`` and its like put in, once: what was put in is not looked at again."""
    parts = word.split("{")
    filled = parts[:1]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        known = closed and name in facts
        filled.append(f"{'' if facts[name] is None else facts[name]}{rest}" if known else f"{{{part}")
    return "".join(filled)
