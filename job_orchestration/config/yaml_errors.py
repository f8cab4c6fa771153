"""Translate errors of the YAML parser into messages for authors of configs.

A parser names the rule of the grammar that failed; an author needs the character to change. The table below
maps a part of the parser's message (from libyaml or from the parser in Python) to a message of ours, and
selects one of the parser's two positions: where it stopped, or where the structure that it was reading began.
For example, an unclosed bracket is detected at the end of the file and reported where it was opened. Pure.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.diagnostics.problems import Problem, escaped, quoted

if TYPE_CHECKING:
    import yaml

_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML forbids; also U+0085, U+2028 and U+2029, which end a line only in YAML 1.1."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file, with only characters that YAML allows."""

    content: str

    @classmethod
    def decoded(cls, data: bytes, file: str) -> Text | Problem:
        """Decode UTF-8 without its byte order mark; return a problem for all other bytes."""
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Problem(file, "the file is UTF-16, not UTF-8", "Save it as UTF-8")
        data = data.removeprefix(codecs.BOM_UTF8)
        try:
            text = cls(data.decode())
        except UnicodeDecodeError as error:
            line, column = cls(data[: error.start].decode()).position(None)
            what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
            return Problem(file, what, "Save the file as UTF-8", "", line, column)
        if match := _FORBIDDEN.search(text.content):
            line, column = text.position(match.start())
            what = f"the character U+{ord(match[0]):04X} cannot stand in a config"
            return Problem(
                file, what, 'Take it out, or write it as an escape in "double quotes"', "", line, column
            )
        return text

    def position(self, offset: int | None) -> tuple[int, int]:
        """Return line and column, from 1, of the character at ``offset``; of the end for ``None``."""
        before = _LINE_END.split(self.content[:offset])
        return len(before), len(before[-1]) + 1

    def around(self, line: int, column: int) -> tuple[str, str]:
        """Return the parts of a line before and after a position; line and column are counted from 0."""
        lines = _LINE_END.split(self.content)
        whole = lines[line] if line < len(lines) else ""
        return whole[:column], whole[column:]


class _Saying(NamedTuple):
    """A part of a parser's message, and the message that replaces it."""

    part: str
    what: str
    todo: str
    at_beginning: bool = False
    """Whether to report the position where the unfinished structure began."""


_TAB: Final = _Saying("tab character", "a tab cannot be used for indentation", "Use spaces")
_BEHIND: Final = _Saying(
    "", "there is text after a closing {}", "Put the whole value in quotes if it is a text"
)
_NO_BEGINNING: Final = _Saying("", "a value cannot begin with {}", "Put it in quotes if it is a text")
_INDENT: Final = "Indent it like its neighbours, or put the value in quotes if it is a text"
_SAYINGS: Final = (
    _TAB,
    _Saying("scanning a quoted scalar", "the text that begins here has no closing quote", "Add it", True),
    _Saying(
        "expected ',' or ']'", "the list that begins here has no ']'", "Add it, or a missing comma", True
    ),
    _Saying(
        "expected ',' or '}'", "the mapping that begins here has no '}'", "Add it, or a missing comma", True
    ),
    _Saying(
        "scanning an alias",
        "'*' needs the name of an anchor",
        "Put the text in quotes",
        True,
    ),
    _Saying(
        "scanning an anchor",
        "'&' needs the name of an anchor",
        "Put the text in quotes",
        True,
    ),
    _Saying("expected ':'", "this line has no ': ' behind a key", "Write `key: value`", True),
    _Saying("mapping values are not allowed", "there is a ': ' where a key is not allowed", _INDENT),
    _Saying("sequence entries are not allowed", "a list cannot begin here", "Begin it on a line of its own"),
    _Saying("document start", "there is text after the end of the document", "Keep one document in a file"),
    _Saying("unknown escape", "a backslash begins an unknown escape", "Use 'single quotes'"),
    _Saying("expected node content", "a value is missing here", "Write it, or put the text in quotes"),
    _Saying("node content, but", "a value is missing here", "Write it, or put the text in quotes"),
    _Saying("undefined tag handle", "tags are not allowed", "Write the plain value"),
    _Saying(
        "block collection",
        "this line is not an item of the list above it",
        "Indent it, or begin it with '- '",
    ),
    _Saying("block mapping", "this line does not fit the lines above it", _INDENT),
)


def in_plain_words(error: yaml.MarkedYAMLError, text: Text, file: str) -> Problem:
    """Return the problem that a parser's error reports."""
    said = f"{error.context}: {error.problem}"
    end = error.problem_mark or error.context_mark
    line, column = (end.line, end.column) if end else text.position(None)
    before, rest = text.around(line, column)
    saying = _saying(said, before, rest)
    if saying.at_beginning and error.context_mark:
        line, column = error.context_mark.line, error.context_mark.column
    return Problem(file, saying.what, saying.todo, "", line + 1, column + 1)


def _saying(said: str, before: str, rest: str) -> _Saying:
    if "cannot start any token" in said:
        return _TAB if rest.startswith("\t") else _about(_NO_BEGINNING, rest[:1])
    if "block mapping" in said and (closing := before.rstrip()[-1:]) in {"}", "]", "'", '"'}:
        return _about(_BEHIND, closing)
    for saying in _SAYINGS:
        if saying.part in said:
            return saying
    return _Saying("", f"the YAML is wrong here ({escaped(said.removeprefix('None: '))})", "Correct it")


def _about(saying: _Saying, character: str) -> _Saying:
    return saying._replace(what=saying.what.format(quoted(character)))
