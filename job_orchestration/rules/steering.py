"""What a run asks of the queue: how urgent it is, what it comes after, and what it takes of a machine.

A queue must know this of every token without reading the whole of it. So `ready` writes it a second time,
into a comment behind the token's first line, and only for runs that ask for anything. A token is compared
byte for byte with the run's ``config.yaml`` before it is claimed, so the two cannot say different things.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.rules.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.model.task import Json

HEADER: Final = "asks: "
"""How the comment line begins."""
_START: Final = f"# {HEADER}".encode()

_ASKING: Final = frozenset({"priority", "after", "resources"})
"""The keys by which a run asks for something."""

Demand: TypeAlias = tuple[tuple[str, int], ...]
"""Names of resources and how much of each, in the order of the names."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What one run asks for."""

    priority: int = 0
    """Higher comes first."""
    after: tuple[str, ...] = ()
    """The runs that must have completed before."""
    resources: Demand = ()


PLAIN: Final = Wants()
"""What nearly every run asks for: nothing."""


def wants_of(values: Mapping[str, Json]) -> Wants:
    """What a resolved config asks for."""
    settings = settings_of(values)
    return Wants(settings.priority, settings.after, settings.resources)


def comment_of(values: Mapping[str, Json]) -> str:
    """The line of a token that says what its resolved config asks for; nothing for nearly all of them."""
    return to_comment(wants_of(values)) if _ASKING & values.keys() else ""


def to_comment(wants: Wants) -> str:
    """The line of a token that says it, without ``# ``; empty for a run that asks for nothing."""
    if wants == PLAIN:
        return ""
    told = {"priority": wants.priority, "after": wants.after, "resources": dict(wants.resources)}
    return HEADER + json.dumps({key: value for key, value in told.items() if value})


def is_told(head: bytes) -> bool | None:
    """Whether the second line of a token says that it asks for something; `None`: it is cut off."""
    _, newline, rest = head.partition(b"\n")
    if newline and not rest.startswith(_START):
        return False
    return True if b"\n" in rest else None


def from_token(head: bytes) -> Wants:
    """What the second line of a token says; a line that nobody here wrote asks for nothing."""
    line = head.split(b"\n", 2)[1]
    try:
        told = json.loads(line.removeprefix(_START))
        resources = sorted((str(name), int(much)) for name, much in told.get("resources", {}).items())
        after = tuple(str(run) for run in told.get("after", ()))
        return Wants(int(told.get("priority", 0)), after, tuple(resources))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return PLAIN


# -- the order of configs that name each other ------------------------------------------------------------


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Names, each behind those that it comes after; otherwise in their own order.

    Args:
        after: each name with what it comes after; what is no key does not matter. Where names come after
            each other in a circle, the first of them counts as the first.
    """
    found: dict[str, None] = {}
    begun: set[str] = set()
    for name in after:
        stack: list[tuple[str, Iterator[str]]] = [(name, iter(after[name]))] if name not in begun else []
        begun.add(name)
        while stack:
            current, ahead = stack[-1]
            following = next((n for n in ahead if n in after and n not in begun), None)
            if following is None:
                found[current] = None
                stack.pop()
            else:
                begun.add(following)
                stack.append((following, iter(after[following])))
    return list(found)


def circle(after: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    """The names on a way from a name back to itself, it first and last; empty when there is no such way."""
    came_from: dict[str, str] = {}
    ahead = [name]
    while ahead:
        current = ahead.pop(0)
        for following in after.get(current, ()):
            if following == name:
                way = [name, current]
                while way[-1] != name:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if following in after and following not in came_from:
                came_from[following] = current
                ahead.append(following)
    return ()
