"""Parse the expressions of ``--filter`` and of a sweep's ``exclude``: ``model == "Conv" and epochs > 3``.

The language is a part of Python's expressions without side effects: comparisons (also chained), ``and``,
``or``, ``not``, ``in``, ``is null``, arithmetic of numbers, texts, lists, ``true``, ``false``, ``null``, and
names. A name may have dots, ``train.lr``; a name with other characters is written in backquotes.

Evaluation raises no error. A key that does not exist is *missing*, and so is the result of impossible
arithmetic. Every comparison with a missing value is false, even ``!=`` and ``not in``; so is a comparison of
values without an order, such as a text and a number. Only ``x is null`` is true for a missing value.

The text is never evaluated by Python: the parser below builds a tree of functions. Length and depth are
bounded, and powers and repetition do not exist, so every expression is evaluated quickly. Pure.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from job_orchestration.config import expression_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.config.expression_nodes import Binary, Node, Values

MOST_CHARACTERS: Final = 2000
MOST_NESTED: Final = 40


class FilterError(ValueError):
    """An invalid expression.

    Attributes:
        what: what is wrong, without a full stop.
        todo: what to do about it, without a full stop.
        column: its position, from 1.
    """

    def __init__(self, what: str, todo: str, column: int) -> None:
        super().__init__(f"column {column}: {what}. {todo}.")
        self.what = what
        self.todo = todo
        self.column = column


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed expression."""

    text: str
    names: frozenset[str]
    """The keys that it uses."""
    _node: Node

    def matches(self, values: Values) -> bool:
        """Return whether it is true of these values; a dotted name also finds keys of nested mappings."""
        return expression_nodes.is_true(self._node(values))


def parse(text: str) -> Filter:
    """Parse an expression.

    Raises:
        FilterError: if it is invalid, too long or nested too deeply.
    """
    if len(text) > MOST_CHARACTERS:
        raise FilterError(
            f"the expression has more than {MOST_CHARACTERS} characters", "Shorten it", MOST_CHARACTERS + 1
        )
    parser = _Parser(text)
    node = parser.whole()
    return Filter(text, frozenset(parser.names), node)


# -- tokens -----------------------------------------------------------------------------------------------

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
_MISTAKES: Final[Mapping[str, tuple[str, str]]] = {
    "=": ("a single = is not a comparison", "Write == for equal"),
    "!": ("! is not an operator", "Write not, or != for unequal"),
    "&": ("& is not an operator", "Write and"),
    "|": ("| is not an operator", "Write or"),
    "'": ("the text that begins here has no closing quote", "Add it"),
    '"': ("the text that begins here has no closing quote", "Add it"),
    "`": ("the name that begins here has no closing backquote", "Add it"),
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
            what, todo = _MISTAKES.get(
                rest[0],
                (
                    f"{rest.split()[0][:20]!r} cannot be part of an expression",
                    "Put a text in quotes, a name in `backquotes`",
                ),
            )
            raise FilterError(what, todo, column)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind) + 1))
        at = match.end()
    return found


class _Parser:
    """Parser of one expression, with a method for each level of precedence."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self.names: set[str] = set()

    def whole(self) -> Node:
        """Return the node of the whole text."""
        node = self._either()
        if self._next.kind != "end":
            self._refuse()
        return node

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _takes(self, *words: str) -> str | None:
        """Return and consume the next token if it is one of these."""
        token = self._next
        if token.kind in {"sign", "name"} and token.text in words:
            self._at += 1
            return token.text
        return None

    def _refuse(self) -> NoReturn:
        token = self._next
        if token.kind == "end":
            raise FilterError("the expression ends where a value is missing", "Complete it", token.column)
        raise FilterError(f"{token.text[:20]} is not allowed here", "Check the text before it", token.column)

    def _either(self) -> Node:
        nodes = [self._both()]
        while self._takes("or"):
            nodes.append(self._both())
        return nodes[0] if len(nodes) == 1 else expression_nodes.either(nodes)

    def _both(self) -> Node:
        nodes = [self._opposite()]
        while self._takes("and"):
            nodes.append(self._opposite())
        return nodes[0] if len(nodes) == 1 else expression_nodes.both(nodes)

    def _opposite(self) -> Node:
        if not self._takes("not"):
            return self._comparison()
        return expression_nodes.opposite(self._deeper(self._opposite))

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
                    "is can only be followed by null or not null", "Write == to compare", self._next.column
                )
            return expression_nodes.null(first, wanted=wanted)
        rest: list[tuple[Binary, Node]] = []
        while sign := self._comparison_sign():
            rest.append((expression_nodes.COMPARISONS[sign], self._sum()))
        return expression_nodes.comparison(first, rest) if rest else first

    def _comparison_sign(self) -> str | None:
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self._next[:2] == ("name", "not") and following[:2] == ("name", "in"):
            self._at += 2
            return "not in"
        return self._takes("==", "!=", "<=", ">=", "<", ">", "in")

    def _sum(self) -> Node:
        return self._chain(expression_nodes.SUMS, self._product)

    def _product(self) -> Node:
        return self._chain(expression_nodes.PRODUCTS, self._signed)

    def _chain(self, signs: Mapping[str, Binary], part: Callable[[], Node]) -> Node:
        first = part()
        rest = []
        while sign := self._takes(*signs):
            rest.append((signs[sign], part()))
        return expression_nodes.reckoning(first, rest) if rest else first

    def _signed(self) -> Node:
        if self._takes("-"):
            return expression_nodes.negative(self._deeper(self._signed))
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
            return expression_nodes.name(name)
        return expression_nodes.constant(_constant(token))

    def _items(self, end: str, *nodes: Node) -> Node:
        found = list(nodes)
        if found and not self._takes(","):
            self._refuse()
        while self._next.text != end:
            found.append(self._deeper(self._either))
            if not self._takes(","):
                break
        return self._closed(end, expression_nodes.items(found))

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
            f"{match[0]} is not a known escape",
            "Write two backslashes for one",
            token.column + 1 + match.start(),
        )
    return _ESCAPES[match[1]]
