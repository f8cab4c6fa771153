"""The live view of ``up`` and ``status --watch``, and tables on a terminal. Only imported for a terminal.

Messages scroll above a frame that is redrawn in place. A terminal whose width changes wraps or cuts the old
frame unpredictably, so the screen is then cleared and redrawn, with the latest messages above the frame.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from job_orchestration.cli import render
from job_orchestration.cli.table_layout import Line, ascii_only, lines, table

if TYPE_CHECKING:
    from job_orchestration.commands.live_view import Frame
    from job_orchestration.commands.status import Overview

_KEPT: Final = 200
"""Maximum number of messages to print again on a cleared screen."""


def print_overview(found: Overview, most: int, color: str = "auto") -> None:
    """``status`` on a terminal."""
    console = Console(highlight=False, **_options(color))
    if found.runs:
        for row in table(found.runs[:most], console.width):
            shown = ascii_only(row) if console.options.ascii_only else row
            console.print(Text(shown.text, shown.style), no_wrap=True, overflow="crop", crop=True)
    for line in render.below(found, most):
        console.print(line, markup=False)


def _options(color: str) -> dict[str, Any]:
    """Return the options of a console; with `auto`, terminal and environment decide."""
    if color == "auto":
        return {}
    environment = {name: text for name, text in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    if color == "never":
        return {"color_system": None, "_environ": environment}
    system = "auto" if os.environ.get("TERM", "dumb") != "dumb" else "standard"
    return {"force_terminal": True, "color_system": system, "_environ": environment}


class LiveView:
    """Live view of ``up`` on a terminal: messages above, a frame with the active runs below."""

    def __init__(self, color: str = "auto") -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, **_options(color))
        self._said: deque[str] = deque(maxlen=_KEPT)
        self._drawn: list[Line] = []
        self._width = 0

    def __enter__(self) -> Self:
        self._console.show_cursor(show=False)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            self._console.show_cursor(show=True)

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._said.append(line)
        with suppress(OSError), self._console:  # one write, so that no half-drawn frame is visible
            frame = self._drawn
            self._erase()
            self._console.print(line)
            self._draw(frame)

    def show(self, frame: Frame) -> None:
        """Redraw the frame."""
        width, height = self._console.size
        made = lines(frame, width, height)
        if self._console.options.ascii_only:
            made = [ascii_only(line) for line in made]
        with suppress(OSError), self._console:
            if self._width not in {0, width}:
                self._redraw_all(height - len(made) - 1)
            self._erase()
            self._draw(made)
        self._width = width

    def _redraw_all(self, height: int) -> None:
        """Clear the screen and print as many of the latest messages as fit into the height."""
        self._console.control(Control.clear(), Control.home())
        self._drawn = []
        again: list[str] = []
        for line in reversed(self._said):
            height -= len(Text(line).wrap(self._console, self._console.width))
            if height < 0:
                break
            again.insert(0, line)
        for line in again:
            self._console.print(line)

    def _erase(self) -> None:
        up, erase = (ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)
        codes = (up, erase) * len(self._drawn)
        self._console.control(Control(ControlType.CARRIAGE_RETURN, erase, *codes))  # "^C" may stand there
        self._drawn = []

    def _draw(self, made: list[Line]) -> None:
        for line in made:
            self._console.print(Text(line.text, line.style), no_wrap=True, overflow="crop", crop=True)
        self._drawn = made
