r"""Keep the last state of lines that a program overwrites, as a terminal would show them.

A progress bar writes ``\r`` and its line anew; several bars also move the cursor up. In a file that would be
one line of thousands of characters. Here, what follows ``\r`` replaces the line, and a line above can be
replaced as long as it is in memory. Pure.
"""

from __future__ import annotations

import re
from typing import Final

_REACH: Final = 4096
"""Bytes at the end of the file that can still be overwritten."""
_LONGEST: Final = 1 << 16
"""A line longer than this is no progress bar."""
_CONTROL: Final = re.compile(rb"(\r|\n|\x1b\[[0-9]*[AK])")
_CUT: Final = re.compile(rb"\x1b(?:\[[0-9]*)?\Z")
"""The beginning of a control sequence whose rest is still to come."""


class OverwrittenLines:
    """The end of a file to which a program's output goes."""

    def __init__(self) -> None:
        self._tail = b""
        """The last bytes of the file."""
        self._up = 0
        """Number of lines between the cursor and the last line."""
        self._replaces = False
        """Whether the cursor stands at the beginning of a line that has text."""
        self._cut = b""

    def write(self, data: bytes) -> tuple[int, bytes]:
        """Return what to do with the file: how many bytes to take off its end, and what to append."""
        if b"\r" not in data and b"\x1b" not in data and not (self._up or self._replaces or self._cut):
            self._keep(data)
            return 0, data
        data = self._cut + data
        self._cut = found[0] if (found := _CUT.search(data)) else b""
        lines = self._tail.split(b"\n")
        row = max(len(lines) - 1 - self._up, 0)
        for part in _CONTROL.split(data[: len(data) - len(self._cut)]):
            row = self._apply(part, lines, row)
        self._up = len(lines) - 1 - row
        return self._change_to(b"\n".join(lines))

    def forget(self) -> None:
        """Leave the file as it is: from now on something else stands at its end."""
        self._tail, self._up, self._replaces = b"", 0, False

    def end_line(self) -> bytes:
        """Move the cursor to a new line at the end of the file; return what to append for it."""
        rest, self._cut = self._cut, b""
        self._up, self._replaces = 0, False
        text = rest if not self._tail + rest or (self._tail + rest).endswith(b"\n") else rest + b"\n"
        self._keep(text)
        return text

    def _apply(self, part: bytes, lines: list[bytes], row: int) -> int:
        """Apply one piece of text or one control sequence; return the row of the cursor."""
        if part == b"\n":
            row += 1
            if row == len(lines):
                lines.append(b"")
            self._replaces = bool(lines[row])
        elif part == b"\r":
            self._replaces = True
        elif part.startswith(b"\x1b[") and part.endswith(b"A"):
            row = max(row - int(part[2:-1] or 1), 0)
        elif part.startswith(b"\x1b[") and part.endswith(b"K"):
            if self._replaces or part == b"\x1b[2K":
                lines[row] = b""
        elif part:
            text = part if part.strip(b" ") else b""  # blanks are how a bar clears its line
            lines[row] = text if self._replaces else lines[row] + part
            self._replaces = False
        return row

    def _change_to(self, text: bytes) -> tuple[int, bytes]:
        tail = self._tail
        above = tail.rfind(b"\n") + 1
        same = len(tail) if text.startswith(tail) else above
        if text[:same] != tail[:same]:
            same = next(n for n in range(above) if text[n : n + 1] != tail[n : n + 1])
        self._tail = b""
        self._keep(text)
        return len(tail) - same, text[same:]

    def _keep(self, data: bytes) -> None:
        tail = self._tail + data if len(data) < _REACH else data[-_LONGEST:]
        if len(tail) > _REACH and not self._up:
            begin = tail.rfind(b"\n", 0, -_REACH)
            begin = tail.find(b"\n", len(tail) - _REACH) if begin < 0 else begin
            tail = tail[begin + 1 :] if begin >= 0 else tail
        self._tail = tail if len(tail) <= _LONGEST else b""
