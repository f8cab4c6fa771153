"""Strict YAML: bytes in, a tree with positions or the list of what is wrong with them out.

YAML as its libraries read it is too much for a file that decides what runs. A few hundred bytes of aliases
grow to gigabytes, a tag makes objects, a second ``lr:`` silently wins over the first, and ``1e-3`` is a
text while ``no`` is a boolean. So only the lower half of the library is used: its event stream, which knows
positions and neither builds nor expands anything. What the events mean is decided here:

* one document, a mapping at its root, UTF-8, bounded in bytes, in depth and in the number of values;
* no tags, anchors, aliases, merges, duplicate keys, or keys that are not a text. Keys are texts as written;
* the scalars of the YAML 1.2 core schema: ``1e-3`` is a number, ``010`` is ten, ``no`` is a word, ``1:30``
  and dates are texts. Numbers that JSON cannot say are refused, for a journal is JSON.

A finding does not stop the reading, so that a file shows all of them at once; a limit or a syntax error does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from job_orchestration.model.problem import Problem, escaped, quoted
from job_orchestration.rules.scalars import Scalar, resolve
from job_orchestration.rules.syntax import Text, in_plain_words
from job_orchestration.rules.writing import to_yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml: the same events, ten times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.model.task import Json

__all__ = ["MAX_BYTES", "Node", "capped", "plain", "read", "to_yaml"]

MAX_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
MAX_PROBLEMS: Final = 50
"""How many problems of one file are shown; whoever has more has one big one."""

Value: TypeAlias = "Scalar | tuple[Node, ...] | Mapping[str, tuple[Node, Node]]"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands; line and column are counted from 1."""

    line: int
    column: int
    value: Value
    """A mapping has the node of each key beside that of its value."""


def plain(node: Node) -> Json:
    """The value without its positions."""
    value = node.value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, (_, item) in value.items()}
    return value


def read(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Read a config.

    Args:
        data: the bytes of the file.
        file: its name, for the problems.

    Returns:
        The root, a mapping, as far as it could be read, or ``None``; and all problems in the file's order.
        A root that comes with problems serves to look for further ones, and for nothing else.
    """
    composer = _Composer(file)
    root = composer.read(data)
    return root, capped(composer.problems)


def capped(problems: list[Problem]) -> list[Problem]:
    """The first problems of a file, in its order, and a word about the rest when there are too many."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
    if len(ordered) <= MAX_PROBLEMS:
        return ordered
    rest = len(ordered) - MAX_PROBLEMS
    return [
        *ordered[:MAX_PROBLEMS],
        Problem(ordered[0].file, f"there are {rest} more problems", "Mend these first"),
    ]


_SURROGATE = re.compile("[\ud800-\udfff]")


class _LimitError(Exception):
    """A bound was met; the problem is noted already."""


class _Composer:
    """Makes the tree of one file from its events and notes what is wrong on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._values = 0
        self._events: Iterator[Any] = iter(())

    def read(self, data: bytes) -> Node | None:
        if len(data) > MAX_BYTES:
            self._note(
                0,
                0,
                f"the file has {len(data)} bytes, and {MAX_BYTES} are the most",
                "Keep data in other files",
            )
            return None
        text = Text.decoded(data, self.file)
        if isinstance(text, Problem):
            self.problems.append(text)
            return None
        self._events = yaml.parse(text.content, Loader=_Loader)
        try:
            return self._document()
        except _LimitError:
            return None
        except yaml.MarkedYAMLError as error:
            self.problems.append(in_plain_words(error, text, self.file))
        except (yaml.YAMLError, ValueError) as error:  # the pure reader lets chr() and int() speak for it
            self._note(0, 0, f"the YAML cannot be read: {escaped(str(error))}", "Mend it")
        return None

    def _document(self) -> Node | None:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            self._note(0, 0, "the file is empty", "Write lines of the form `key: value`")
            return None
        root = self._node(next(self._events), "", 1)
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(after, "", "a second document begins here", "Keep one document in a file")
        if isinstance(root.value, Mapping):
            return root
        kind = {tuple: "a list", str: "a text", type(None): "nothing"}.get(type(root.value), "a single value")
        todo = "Write lines of the form `key: value`"
        self._note(root.line, root.column, f"the file holds {kind} instead of keys with values", todo)
        return None

    def _node(self, event: Any, path: str, depth: int) -> Node:
        self._values += 1
        if self._values > MAX_VALUES:
            self._refuse(
                event, path, f"the file has more than {MAX_VALUES} values", "Keep data in other files"
            )
            raise _LimitError
        self._refuse_marks(event, path)
        value: Value = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif not isinstance(event, yaml.AliasEvent):
            if depth > MAX_DEPTH:
                self._refuse(
                    event, "", f"the values are nested deeper than {MAX_DEPTH}", "Make the structure flatter"
                )
                raise _LimitError
            inside = self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping
            value = inside(path, depth)
        mark = event.start_mark
        return Node(mark.line + 1, mark.column + 1, value)

    def _sequence(self, path: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return tuple(items)

    def _mapping(self, path: str, depth: int) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path, depth)
            below = f"{path}.{key}" if path and key else key or path
            value = self._node(next(self._events), below, depth + 1)
            if key is None:
                continue
            if key in entries:
                first = entries[key][0].line
                what = f"duplicate key {quoted(key)}, which line {first} has already"
                self._refuse(event, below, what, "Keep one of the two")
                continue
            mark = event.start_mark
            entries[key] = (Node(mark.line + 1, mark.column + 1, key), value)
        return entries

    def _key(self, event: Any, path: str, depth: int) -> str | None:
        """The text of a key; ``None`` when it is refused."""
        if isinstance(event, yaml.CollectionStartEvent):
            self._refuse(event, path, "a key must be a text, not a list or a mapping", "Write `key: value`")
            self._node(event, path, depth + 1)
            return None
        self._refuse_marks(event, path)
        if isinstance(event, yaml.AliasEvent):
            return None
        if event.implicit[0] and event.value == "<<":
            self._refuse(event, path, "merges (<<) are not allowed", "Write the keys out")
            return None
        if event.implicit[0] and not event.value:
            self._refuse(event, path, "a key is missing", "Write `key: value`")
            return None
        return self._scalar_text(event, path)

    def _scalar(self, event: Any, path: str) -> Scalar:
        text = self._scalar_text(event, path)
        if not event.implicit[0]:
            return text
        try:
            return resolve(text)
        except ValueError as error:
            self._refuse(event, path, str(error), "Put it in quotes if it is a text")
            return None

    def _scalar_text(self, event: Any, path: str) -> str:
        text: str = event.value
        if not text.isascii() and _SURROGATE.search(text):  # only the pure reader lets "\ud800" pass
            self._refuse(event, path, "half of a character stands here", "Write the whole character")
            return ""
        return text

    def _refuse_marks(self, event: Any, path: str) -> None:
        """Note an alias, an anchor or a tag."""
        if isinstance(event, yaml.AliasEvent):
            what = f"aliases (*{str(event.anchor)[:40]}) are not allowed"
            self._refuse(event, path, what, "Write the value out")
            return
        if event.anchor is not None:
            what = f"anchors (&{event.anchor[:40]}) are not allowed"
            self._refuse(event, path, what, "Write the value out where it is used")
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:40]
            self._refuse(event, path, f"tags ({tag}) are not allowed", "Write the plain value")

    def _refuse(self, event: Any, path: str, what: str, todo: str) -> None:
        self._note(event.start_mark.line + 1, event.start_mark.column + 1, what, todo, path)

    def _note(self, line: int, column: int, what: str, todo: str, path: str = "") -> None:
        self.problems.append(Problem(self.file, what, todo, path, line, column))
