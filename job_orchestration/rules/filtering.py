"""The expressions of ``--filter`` and of a sweep's ``exclude``: ``model == "Conv" and epochs > 3``.

The language is the part of Python's expressions that asks and never does: comparisons (also chained),
``and``, ``or``, ``not``, ``in``, ``is null``, arithmetic of numbers, texts, lists, ``true``, ``false``,
``null``, and names. A name may have dots, ``train.lr``; one with other characters stands in backquotes.

There is no error while evaluating. A key that is not there, and arithmetic that has no answer, are *missing*:
every comparison with something missing is false, ``!=`` and ``not in`` too, and so is one of things that have
no order, such as a text and a number. Only ``x is null`` is true for what is missing.

Nothing of the text is ever given to Python: a parser of our own makes a tree of closures. Length and depth
are bounded, and there is neither a power nor a repetition, so that no expression can take long.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from job_orchestration.rules import terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.rules.terms import Binary, Node, Values

MOST_CHARACTERS: Final = 2000
MOST_NESTED: Final = 40


class FilterError(ValueError):
    """An expression that means nothing.

    Attributes:
        what: what is wrong, without a full stop.
        todo: what to do about it, the same.
        column: where, from 1.
    """

    def __init__(self, what: str, todo: str, column: int) -> None:
        super().__init__(f"column {column}: {what}. {todo}.")
        self.what = what
        self.todo = todo
        self.column = column


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression that was understood."""

    text: str
    names: frozenset[str]
    """The keys that it asks for."""
    _node: Node

    def matches(self, values: Values) -> bool:
        """Whether it is true of these values; a dotted name also finds the keys of mappings in them."""
        return terms.is_true(self._node(values))


def parse(text: str) -> Filter:
    """Understand an expression.

    Raises:
        FilterError: when it means nothing, or is too long or too deep.
    """
    if len(text) > MOST_CHARACTERS:
        raise FilterError(
            f"the expression has more than {MOST_CHARACTERS} characters", "Shorten it", MOST_CHARACTERS + 1
        )
    parser = _Parser(text)
    node = parser.whole()
    return Filter(text, frozenset(parser.names), node)


# -- the text ---------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<number> (?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?!\w) )
  | (?P<text>   "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
  | (?P<name>   [^\W\d]\w*(?:\.\w+)* )
  | (?P<quoted> `[^`]+` )
  | (?P<sign>   [=!<>]= | [-+*/%<>()\[\],] )
  | (?P<end>    $ )
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final[Mapping[str, str]] = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("true", "True"), True),
    **dict.fromkeys(("false", "False"), False),
    **dict.fromkeys(("null", "None")),
}
_WORDS: Final = frozenset({"and", "or", "not", "in", "is", *_CONSTANTS})
_SLIPS: Final[Mapping[str, tuple[str, str]]] = {
    "=": ("a single = compares nothing", "Write == for equal"),
    "!": ("! means nothing here", "Write not, or != for unequal"),
    "&": ("& means nothing here", "Write and"),
    "|": ("| means nothing here", "Write or"),
    "'": ("a text in quotes begins here and never ends", "Add its quote"),
    '"': ("a text in quotes begins here and never ends", "Add its quote"),
    "`": ("a name in backquotes begins here and never ends", "Add its backquote"),
}


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            column = len(text) - len(rest) + 1
            what, todo = _SLIPS.get(
                rest[0],
                (
                    f"{rest.split()[0][:20]!r} is no part of an expression",
                    "Put a text in quotes, a name in `backquotes`",
                ),
            )
            raise FilterError(what, todo, column)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        at = match.end()
    return found


class _Parser:
    """One expression, from its first token to its last; a method for each level of what binds how tightly."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> Node:
        """The expression, with nothing behind it."""
        node = self._either()
        if self._next.kind != "end":
            self._refuse()
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _takes(self, *words: str) -> str | None:
        """The next sign or word when it is one of these, which is then passed."""
        token = self._next
        if token.kind in {"sign", "name"} and token.text in words:
            self._at += 1
            return token.text
        return None

    def _refuse(self) -> NoReturn:
        token = self._next
        if token.kind == "end":
            raise FilterError("the expression ends where a value is missing", "Complete it", token.column)
        raise FilterError(f"{token.text[:20]} cannot stand here", "Look at what is before it", token.column)

    def _either(self) -> Node:
        nodes = [self._both()]
        while self._takes("or"):
            nodes.append(self._both())
        return nodes[0] if len(nodes) == 1 else terms.either(nodes)

    def _both(self) -> Node:
        nodes = [self._opposite()]
        while self._takes("and"):
            nodes.append(self._opposite())
        return nodes[0] if len(nodes) == 1 else terms.both(nodes)

    def _opposite(self) -> Node:
        if not self._takes("not"):
            return self._comparison()
        return terms.opposite(self._deeper(self._opposite))

    def _deeper(self, part: Callable[[], Node]) -> Node:
        if self._depth == MOST_NESTED:
            raise FilterError("the expression is nested too deeply", "Simplify it", self._next.column)
        self._depth += 1
        node = part()
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        first = self._sum()
        if self._takes("is"):
            wanted = not self._takes("not")
            if not self._takes("null", "None"):
                raise FilterError(
                    "is asks only whether something is null", "Write == to compare", self._next.column
                )
            return terms.null(first, wanted=wanted)
        rest: list[tuple[Binary, Node]] = []
        while sign := self._comparison_sign():
            rest.append((terms.COMPARISONS[sign], self._sum()))
        return terms.comparison(first, rest) if rest else first

    def _comparison_sign(self) -> str | None:
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self._next[:2] == ("name", "not") and following[:2] == ("name", "in"):
            self._at += 2
            return "not in"
        return self._takes("==", "!=", "<=", ">=", "<", ">", "in")

    def _sum(self) -> Node:
        return self._chain(terms.SUMS, self._product)

    def _product(self) -> Node:
        return self._chain(terms.PRODUCTS, self._signed)

    def _chain(self, signs: Mapping[str, Binary], part: Callable[[], Node]) -> Node:
        first = part()
        rest = []
        while sign := self._takes(*signs):
            rest.append((signs[sign], part()))
        return terms.reckoning(first, rest) if rest else first

    def _signed(self) -> Node:
        if self._takes("-"):
            return terms.negative(self._deeper(self._signed))
        return self._value()

    def _value(self) -> Node:
        if self._takes("["):
            return self._items("]")
        if self._takes("("):
            node = self._deeper(self._either)
            if self._next.text == ",":  # Python's (1, 2)
                return self._items(")", node)
            return self._closed(")", node)
        token = self._next
        if token.kind in {"end", "sign"} or token.text in _WORDS - _CONSTANTS.keys():
            self._refuse()
        self._at += 1
        if token.kind in {"name", "quoted"} and token.text not in _CONSTANTS:
            name = token.text.strip("`")
            self.names.add(name)
            return terms.name(name)
        return terms.constant(_constant(token))

    def _items(self, end: str, *nodes: Node) -> Node:
        found = list(nodes)
        if found and not self._takes(","):
            self._refuse()
        while self._next.text != end:
            found.append(self._deeper(self._either))
            if not self._takes(","):
                break
        return self._closed(end, terms.items(found))

    def _closed(self, end: str, node: Node) -> Node:
        if not self._takes(end):
            raise FilterError(f"{end} is missing here", "Add it", self._next.column)
        return node


def _constant(token: _Token) -> object:
    if token.kind == "text":
        return _ESCAPE.sub(lambda match: _unescaped(match, token), token.text[1:-1])
    if token.kind == "name":
        return _CONSTANTS[token.text]
    if token.text.isdecimal():
        return int(token.text)
    number = float(token.text)
    if not math.isfinite(number):
        raise FilterError(f"the number {token.text[:20]} is too large", "Write a smaller one", token.column)
    return number


def _unescaped(match: re.Match[str], token: _Token) -> str:
    if match[1] not in _ESCAPES:
        raise FilterError(
            f"a text knows no escape {match[0]}",
            "Write two backslashes for one",
            token.column + 1 + match.start(),
        )
    return _ESCAPES[match[1]]
