"""What a YAML parser says, in the words of somebody who wrote a config.

A parser names the rule of the grammar that failed; a reader wants to know which character to change. The
table below goes from a part of the parser's sentence (libyaml's or the pure Python parser's) to ours, and
says which of the parser's two places is the one to look at: where it gave up, or where what it was reading
began. An opened bracket, for one, is missed at the end of the file and mended where it was opened.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.model.problem import Problem, escaped, quoted

if TYPE_CHECKING:
    import yaml

_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in YAML as it is; and U+0085, U+2028 and U+2029, which end lines for YAML 1.1 only."""


@dataclass(frozen=True, slots=True)
class Text:
    """The characters of a file that may be given to a parser."""

    content: str

    @classmethod
    def decoded(cls, data: bytes, file: str) -> Text | Problem:
        """The text of UTF-8 bytes, without a byte order mark; a problem for all other bytes."""
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
        """Line and column, from 1, of the character at ``offset``; of the end for ``None``."""
        before = _LINE_END.split(self.content[:offset])
        return len(before), len(before[-1]) + 1

    def around(self, line: int, column: int) -> tuple[str, str]:
        """What stands before a position in its line, and what from there on; both counted from 0."""
        lines = _LINE_END.split(self.content)
        whole = lines[line] if line < len(lines) else ""
        return whole[:column], whole[column:]


class _Saying(NamedTuple):
    """A part of a parser's sentence, and what we say instead."""

    part: str
    what: str
    todo: str
    at_beginning: bool = False
    """Whether the place to look at is where the thing began that was being read."""


_TAB: Final = _Saying("tab character", "a tab cannot be used for indentation", "Use spaces")
_BEHIND: Final = _Saying(
    "", "something stands behind a closing {}", "Put the whole value in quotes if it is a text"
)
_NO_BEGINNING: Final = _Saying("", "a value cannot begin with {}", "Put it in quotes if it is a text")
_INDENT: Final = "Indent it like its neighbours, or put the value in quotes if it is a text"
_SAYINGS: Final = (
    _TAB,
    _Saying("scanning a quoted scalar", "a text in quotes begins here and never ends", "Add its quote", True),
    _Saying(
        "expected ',' or ']'", "the list that begins here has no ']'", "Add it, or a missing comma", True
    ),
    _Saying(
        "expected ',' or '}'", "the mapping that begins here has no '}'", "Add it, or a missing comma", True
    ),
    _Saying("expected ':'", "this line has no ': ' behind a key", "Write `key: value`", True),
    _Saying("mapping values are not allowed", "a ': ' stands where no key can be", _INDENT),
    _Saying("sequence entries are not allowed", "a list cannot begin here", "Begin it on a line of its own"),
    _Saying(
        "document start", "something stands behind the end of the document", "Keep one document in a file"
    ),
    _Saying("unknown escape", "a backslash begins an escape that YAML does not know", "Use 'single quotes'"),
    _Saying("expected node content", "a value is missing here", "Write it, or put the text in quotes"),
    _Saying("node content, but", "a value is missing here", "Write it, or put the text in quotes"),
    _Saying("undefined tag handle", "tags are not allowed", "Write the plain value"),
    _Saying(
        "block collection", "this line is no item of the list above it", "Indent it, or begin it with '- '"
    ),
    _Saying("block mapping", "this line does not fit the lines above it", _INDENT),
)


def in_plain_words(error: yaml.MarkedYAMLError, text: Text, file: str) -> Problem:
    """The problem that a parser's error stands for."""
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
    return _Saying("", f"the YAML is wrong here ({escaped(said.removeprefix('None: '))})", "Mend it")


def _about(saying: _Saying, character: str) -> _Saying:
    return saying._replace(what=saying.what.format(quoted(character)))
