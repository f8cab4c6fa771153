"""Set up `logging` in a process that runs tasks: everything that is logged is in the run's log.

A program's own `logging.basicConfig` does here what it does in a script, at import and in a task: it would do
nothing if our handler counted. A console handler that it makes writes into the run's log by itself, so
ours leaves; beside a handler that writes a file, ours stays.
"""

from __future__ import annotations

import atexit
import functools
import logging
import sys
from typing import Any, Final, TextIO

_FORMAT: Final = "%(asctime)s [%(levelname)-5.5s]  %(message)s"
"""Of a line of the log, as the first Job Orchestration had it."""
_LOOKS: Final = frozenset({"format", "style", "datefmt", "handlers", "stream"})
"""Arguments of `basicConfig` that say how a line on the console looks."""


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there, the same to its readers
        return sys.stderr


handler: Final = _ToStderr()
"""Our handler of the root logger."""
handler.setFormatter(logging.Formatter(_FORMAT))


def adopt_basic_config() -> None:
    """Have `logging.basicConfig` leave our handler out of account; call it before the tasks are imported."""
    original = logging.basicConfig

    @functools.wraps(original)
    def basic_config(**keywords: Any) -> None:
        root = logging.root
        had_ours = handler in root.handlers
        if had_ours:
            root.handlers.remove(handler)
        before = root.handlers[:]
        try:
            original(**keywords)
        finally:
            if had_ours:
                made = [found for found in root.handlers if found not in before and _is_console(found)]
                if made and _LOOKS.isdisjoint(keywords):
                    root.handlers[:] = [found for found in root.handlers if found not in made]
                add_handler()

    logging.basicConfig = basic_config


def add_handler() -> None:
    """Add our handler to the root logger, unless another one writes to the console."""
    if not any(map(_is_console, logging.root.handlers)):
        logging.root.handlers.insert(0, handler)


def prepare() -> None:
    """Set up `logging` after the imports of the tasks, which may have set it up themselves."""
    add_handler()
    ours = {handler, logging.lastResort}  # with nothing to write when logging is shut down
    handlers: list[Any] = logging._handlerList  # type: ignore[attr-defined]  # noqa: SLF001
    handlers[:] = [reference for reference in handlers if reference() not in ours]
    atexit.unregister(logging.shutdown)  # `process_exit` calls it if there is a handler
    if logging.root.level == logging.WARNING:
        logging.root.setLevel(logging.INFO)


def _is_console(found: logging.Handler) -> bool:
    stream = getattr(found, "stream", None)
    return stream is not None and any(
        stream is each for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    )
