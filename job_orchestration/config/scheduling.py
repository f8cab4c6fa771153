"""Requirements of a run: its priority, its dependencies and the resources that it takes of a machine.

The queue needs them of every token without reading the whole token. So `ready` also writes them into a
comment below the token's first line, if there are any. A token is compared byte for byte with the run's
``config.yaml`` before it is claimed, so the two cannot differ. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.config.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.config.config import Json

ResourceRequest: TypeAlias = tuple[tuple[str, int], ...]
"""Amount of each resource, sorted by name."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements of one run."""

    priority: int = 0
    """Runs with a higher priority are claimed first."""
    after: tuple[str, ...] = ()
    """The runs that must complete first."""
    resources: ResourceRequest = ()


NO_REQUIREMENTS: Final = Requirements()
"""Default: no requirements."""


def requirements_of(values: Mapping[str, Json]) -> Requirements:
    """Return the requirements in a resolved config."""
    settings = settings_of(values)
    return Requirements(settings.priority, settings.after, settings.resources)


# -- order of dependencies --------------------------------------------------------------------------------


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Sort names so that each follows its dependencies; otherwise keep their order.

    Args:
        after: each name with its dependencies; a dependency that is not a key is ignored. A circle begins
            with its first name.
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
    """Return a circle of dependencies that begins and ends with a name; empty if there is none."""
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
