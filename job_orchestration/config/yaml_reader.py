"""Read strict YAML: turn bytes into a tree with positions, or into a list of problems.

Full YAML is too powerful for a file that decides what runs. A few hundred bytes of aliases grow to gigabytes,
a tag creates objects, a second ``lr:`` silently overrides the first, and ``1e-3`` is a text while ``no`` is a
boolean. So only the event stream of the library is used: it has positions, and it builds and expands nothing.
This module gives the events their meaning:

* one document, a mapping at its root, UTF-8, bounded in bytes, in depth and in the number of values;
* anchors, aliases and merge keys (``<<``), with the same bounds: an alias counts as the value it repeats;
* no tags, no duplicate keys, and only texts as keys, kept as written;
* the scalars of the YAML 1.2 core schema: ``1e-3`` is a number, ``010`` is ten, ``no`` is a word, ``1:30``
  and dates are texts. A word that YAML 1.1 reads differently gets a warning (`config.yaml_versions`).

Reading continues after a problem, so that all are reported at once; a limit or a syntax error ends it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from job_orchestration.config import yaml_versions
from job_orchestration.config.yaml_errors import Text, in_plain_words
from job_orchestration.config.yaml_scalars import Scalar, resolve
from job_orchestration.diagnostics.problems import Problem, Severity, escaped, quoted
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from job_orchestration.config.config import Json
    from job_orchestration.diagnostics.problems import Fault

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml: the same events, ten times slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

__all__ = ["MAX_BYTES", "Node", "capped", "plain", "read"]

MAX_BYTES: Final = 1_048_576
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
MAX_PROBLEMS: Final = 50
"""Number of problems shown per file; more than that have one cause."""
_DEPTH_OF_LIBYAML: Final = "maximum nesting depth"
"""Part of libyaml's message about its own depth limit."""

_NO_KEY: Final = "a key must be a text, not a list or a mapping"

Value: TypeAlias = "Scalar | tuple[Node, ...] | Mapping[str, tuple[Node, Node]]"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its position; line and column are counted from 1."""

    line: int
    column: int
    value: Value
    """A mapping holds the nodes of each key and of its value."""


def plain(node: Node) -> Json:
    """Return the value without positions."""
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
        The root mapping as far as it could be read, or ``None``; and all problems in the file's order. If
        there are errors, the root serves only to find more of them.
    """
    composer = _Composer(file)
    root = composer.read(data)
    return root, capped(composer.problems)


def capped(problems: list[Problem]) -> list[Problem]:
    """Return the first problems of a file, in its order, and one that counts the rest.

    Errors come before warnings, and replace those at the same position.
    """
    wrong = {(p.line, p.column) for p in problems if p.is_error and p.line}
    problems = [p for p in problems if p.is_error or (p.line, p.column) not in wrong]
    ordered = sorted(problems, key=lambda problem: (not problem.is_error, problem.line, problem.column))
    kept = sorted(ordered[:MAX_PROBLEMS], key=lambda problem: (problem.line, problem.column))
    rest = ordered[MAX_PROBLEMS:]
    if rest:
        what = f"there are {len(rest)} more problems"
        kept.append(Problem(kept[0].file, what, "Correct these first", severity=rest[0].severity))
    return kept


_SURROGATE = re.compile("[\ud800-\udfff]")


class _LimitError(Exception):
    """Raised at a limit, after its problem has been added."""


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A value that aliases can repeat, and the cost of each repetition."""

    node: Node
    text: str
    """The scalar as written, for an alias used as a key."""
    values: int
    characters: int
    height: int


def _height(node: Node) -> int:
    """Return the number of levels of lists and mappings in a value; 0 for a scalar."""
    value = node.value
    if isinstance(value, tuple):
        return 1 + max(map(_height, value), default=0)
    if isinstance(value, Mapping):
        return 1 + max((_height(inner) for _, inner in value.values()), default=0)
    return 0


class _Composer:
    """Builds the tree of one file from its events, and collects problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._start(())

    def _start(self, events: Iterable[Any]) -> None:
        self.problems: list[Problem] = []
        self._values = 0
        self._characters = 0
        self._anchors: dict[str, _Anchored | None] = {}
        """By name of the anchor; `None` while its value is being read."""
        self._events: Iterator[Any] = iter(events)

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
        try:
            return self._composed(text)
        except _LimitError:
            return None
        except yaml.MarkedYAMLError as error:
            self.problems.append(in_plain_words(error, text, self.file))
        except (yaml.YAMLError, ValueError) as error:  # the parser in Python raises those of chr()
            self._note(0, 0, f"the YAML cannot be read: {escaped(str(error))}", "Correct it")
        return None

    def _composed(self, text: Text) -> Node | None:
        self._start(yaml.parse(text.content, Loader=_Loader))
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            if _DEPTH_OF_LIBYAML not in str(error.problem):
                raise
        # A libyaml with a depth limit of its own looks ahead for keys, so it reaches its limit before ours.
        # The parser in Python has no such limit; ours stops it at once.
        self._start(yaml.parse(text.content, Loader=yaml.SafeLoader))
        return self._document()

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
        if isinstance(event, yaml.AliasEvent):
            return self._repeated(event, path, depth)
        before = self._values, self._characters
        self._count(event, path, 1)
        self._refuse_tag(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        value: Value = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        else:
            self._limit_depth(event, depth)
            inside = self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping
            value = inside(path, depth)
        mark = event.start_mark
        node = Node(mark.line + 1, mark.column + 1, value)
        if event.anchor is not None:
            text = event.value if isinstance(event, yaml.ScalarEvent) else ""
            counts = self._values - before[0], self._characters - before[1]
            self._anchors[event.anchor] = _Anchored(node, text, *counts, _height(node))
        return node

    def _repeated(self, event: Any, path: str, depth: int) -> Node:
        """Return the value that an alias repeats, with the position of the alias."""
        anchored = self._anchored(event, path)
        if anchored is None:
            return Node(event.start_mark.line + 1, event.start_mark.column + 1, None)
        self._limit_depth(event, depth - 1 + anchored.height)
        self._count(event, path, anchored.values, anchored.characters)
        return anchored.node

    def _anchored(self, event: Any, path: str) -> _Anchored | None:
        """Return the value that an alias repeats; `None`, after adding a problem, if it has none."""
        name = event.anchor
        if name not in self._anchors:
            what = f"there is no anchor &{name[:40]} before the alias *{name[:40]}"
            near = [f"*{other}" for other in nearest_names(name, self._anchors)]
            todo = did_you_mean(near) if near else "Put it in quotes if it is a text"
            self._refuse(event, path, what, todo)
            return None
        anchored = self._anchors[name]
        if anchored is None:
            what = f"the alias *{name[:40]} is inside the value that it repeats, which would be endless"
            self._refuse(event, path, what, "Write the value out")
        return anchored

    def _count(self, event: Any, path: str, values: int, characters: int = 0) -> None:
        """Count values, and the characters that an alias repeats, against the limits."""
        self._values += values
        self._characters += characters
        if self._values > MAX_VALUES:
            aliases = ", with its aliases written out" if isinstance(event, yaml.AliasEvent) else ""
            what = f"the file has more than {MAX_VALUES} values{aliases}"
        elif characters and self._characters > MAX_BYTES:
            what = f"the file has more than {MAX_BYTES} characters, with its aliases written out"
        else:
            return
        self._refuse(event, path, what, "Keep data in other files")
        raise _LimitError

    def _limit_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            what = f"the values are nested deeper than {MAX_DEPTH}"
            self._refuse(event, "", what, "Make the structure flatter")
            raise _LimitError

    def _sequence(self, path: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return tuple(items)

    def _mapping(self, path: str, depth: int) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] | None = None
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if _is_merge(event):
                found = self._merged(event, path, depth)
                if merged is not None:
                    todo = "Write one, as in `<<: [*first, *second]`"
                    self._refuse(event, path, "a second merge (<<) in one mapping", todo)
                merged = found
                continue
            key = self._key(event, path, depth)
            below = f"{path}.{key}" if path and key else key or path
            value = self._node(next(self._events), below, depth + 1)
            if key is None:
                continue
            if key in entries:
                first = entries[key][0].line
                what = f"duplicate key {quoted(key)}, already on line {first}"
                self._refuse(event, below, what, "Keep one of the two")
                continue
            mark = event.start_mark
            entries[key] = (Node(mark.line + 1, mark.column + 1, key), value)
        return {**merged, **entries} if merged else entries

    def _merged(self, event: Any, path: str, depth: int) -> dict[str, tuple[Node, Node]]:
        """Return the entries of a merge key; if several mappings have a key, the first counts."""
        known = len(self.problems)
        node = self._node(next(self._events), path, depth)
        found: dict[str, tuple[Node, Node]] = {}
        for source in node.value if isinstance(node.value, tuple) else (node,):
            if isinstance(source.value, Mapping):
                found = {**source.value, **found}
            elif len(self.problems) == known:  # an alias without an anchor has its problem already
                what = "a merge (<<) takes a mapping, or a list of mappings"
                self._refuse(event, path, what, "Write it as in `<<: *defaults`")
        return found

    def _key(self, event: Any, path: str, depth: int) -> str | None:
        """Return the text of a key; ``None`` if it is refused."""
        if isinstance(event, yaml.AliasEvent):
            anchored = self._anchored(event, path)
            if anchored is not None and not isinstance(anchored.node.value, tuple | Mapping):
                self._count(event, path, 0, anchored.characters)
                return anchored.text
            if anchored is not None:
                self._refuse(event, path, _NO_KEY, "Write `key: value`")
            return None
        if isinstance(event, yaml.CollectionStartEvent):
            self._refuse(event, path, _NO_KEY, "Write `key: value`")
            self._node(event, path, depth + 1)
            return None
        self._refuse_tag(event, path)
        if event.implicit[0] and not event.value:
            self._refuse(event, path, "a key is missing", "Write `key: value`")
            return None
        text = self._scalar_text(event, path)
        if event.anchor is not None:
            place = Node(event.start_mark.line + 1, event.start_mark.column + 1, text)
            self._anchors[event.anchor] = _Anchored(place, text, 1, len(text), 0)
        return text

    def _scalar(self, event: Any, path: str) -> Scalar:
        text = self._scalar_text(event, path)
        if not event.implicit[0]:
            return text
        try:
            value = resolve(text)
        except ValueError as error:
            self._refuse(event, path, str(error), "Put it in quotes if it is a text")
            return None
        if fault := yaml_versions.difference(text, value):
            self._warn(event, path, fault)
        return value

    def _scalar_text(self, event: Any, path: str) -> str:
        text: str = event.value
        self._characters += len(text)
        if not text.isascii() and _SURROGATE.search(text):  # only the parser in Python accepts "\ud800"
            self._refuse(event, path, "this is half of a surrogate pair", "Write the whole character")
            return ""
        return text

    def _refuse_tag(self, event: Any, path: str) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:40]
            self._refuse(event, path, f"tags ({tag}) are not allowed", "Write the plain value")

    def _warn(self, event: Any, path: str, fault: Fault) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self.problems.append(Problem(self.file, fault.what, fault.todo, path, line, column, Severity.WARNING))

    def _refuse(self, event: Any, path: str, what: str, todo: str) -> None:
        self._note(event.start_mark.line + 1, event.start_mark.column + 1, what, todo, path)

    def _note(self, line: int, column: int, what: str, todo: str, path: str = "") -> None:
        self.problems.append(Problem(self.file, what, todo, path, line, column))


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<"
