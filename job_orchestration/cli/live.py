"""The live view of ``up`` and ``status --watch``, and tables on a terminal. Only imported for a terminal.

What happens scrolls by above; below it stands a frame, which is drawn over the last one. A terminal that got
another width has wrapped or cut the old frame in a way of its own, so then the screen is cleared and drawn
anew, with what was said last above the frame.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from job_orchestration.cli import render
from job_orchestration.cli.frame import Line, ascii_only, lines, table

if TYPE_CHECKING:
    from job_orchestration.actions.live import Frame
    from job_orchestration.actions.status import Overview

_KEPT: Final = 200
"""Lines that are said again on a cleared screen, if there is room."""


def print_overview(found: Overview, most: int) -> None:
    """``status`` on a terminal."""
    console = Console(highlight=False)
    if found.runs:
        for row in table(found.runs[:most], console.width):
            shown = ascii_only(row) if console.options.ascii_only else row
            console.print(Text(shown.text, shown.style), no_wrap=True, overflow="crop", crop=True)
    for line in render.below(found, most):
        console.print(line, markup=False)


class LiveView:
    """What ``up`` shows on a terminal: what happens scrolls by above, who runs what stands below."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._said: deque[str] = deque(maxlen=_KEPT)
        self._drawn: list[Line] = []
        self._width = 0

    def __enter__(self) -> Self:
        self._console.show_cursor(show=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        self._console.show_cursor(show=True)

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._said.append(line)
        with self._console:  # one write, so that nobody sees the half of it
            frame = self._drawn
            self._erase()
            self._console.print(line)
            self._draw(frame)

    def show(self, frame: Frame) -> None:
        """Draw the view anew."""
        width, height = self._console.size
        made = lines(frame, width, height)
        if self._console.options.ascii_only:
            made = [ascii_only(line) for line in made]
        with self._console:
            if self._width not in {0, width}:
                self._begin_anew(height - len(made) - 1)
            self._erase()
            self._draw(made)
        self._width = width

    def _begin_anew(self, room: int) -> None:
        """Clear the screen and say again what there is room for."""
        self._console.control(Control.clear(), Control.home())
        self._drawn = []
        again: list[str] = []
        for line in reversed(self._said):
            room -= len(Text(line).wrap(self._console, self._console.width))
            if room < 0:
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
