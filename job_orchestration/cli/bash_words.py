"""Words of a bash command line: where the last one begins, and how a match is inserted.

Bash replaces the text after the last character at which it breaks words, or after an open quote, by a match
exactly as it is given. So a match is quoted here, and what stands before that place is taken off it. Pure.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_SAFE: Final = frozenset("_./,+@%^-")
_ENDS: Final = frozenset(" \t\n;|&()<>")
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f]")


class Line(NamedTuple):
    """A command line up to the cursor."""

    before: tuple[str, ...]
    """The words before the last one, without quotes."""
    word: str
    """The last word, without quotes."""
    kept: str
    """Of the last word without quotes, what bash keeps when it inserts a match."""
    quote: str
    """The quote that is open at the cursor, if any."""

    @classmethod
    def parse(cls, text: str, breaks: str) -> Line:
        """Read a line.

        Args:
            text: the line up to the cursor, as it was typed.
            breaks: the characters at which bash breaks words, ``COMP_WORDBREAKS``.
        """
        words, word, kept, quote, escaped, began = [], "", "", "", False, False
        for character in text:
            if escaped:
                word, escaped = word + character, False
            elif character == "\\" and quote != "'":
                escaped = began = True
            elif quote:
                word, quote = (word, "") if character == quote else (word + character, quote)
            elif character in {"'", '"'}:
                quote, kept, began = character, word, True
            elif character in _ENDS:
                if began:
                    words.append(word)
                if character in ";|&(":
                    words.clear()
                word, kept, began = "", "", False
            else:
                word, began = word + character, True
                kept = word if character in breaks else kept
        return cls(tuple(words), word, kept, quote)

    def insert(self, match: str) -> str:
        """Return a match as bash is to insert it."""
        return quoted(match.removeprefix(self.kept), self.quote)


def quoted(text: str, quote: str = "") -> str:
    """Return a text so that bash reads it back as it is.

    Args:
        text: the text.
        quote: the quote that is open before it, which bash closes.
    """
    if quote == "'":
        return text.replace("'", "'\\''")
    if quote:
        return re.sub(r'([\\"$`])', r"\\\1", text)
    if _CONTROL.search(text):
        return f"$'{''.join(map(_in_ansi, text))}'"
    return "".join(c if c.isalnum() or c in _SAFE or ord(c) > 0x7F else f"\\{c}" for c in text)  # noqa: PLR2004


def _in_ansi(character: str) -> str:
    if _CONTROL.match(character):
        return f"\\x{ord(character):02x}"
    return f"\\{character}" if character in "'\\" else character
