"""Tasks whose parameters are attributes: annotated, taken from the config, checked for presence.

The module's name and the names in it are those of the first Job Orchestration, so that its users' code goes
on working: ``from job_orchestration.configBase import TaskWithInitAndValidate``.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from job_orchestration.TaskBase import TaskBase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Dict2Class:
    """An object with an attribute for every key of a mapping.

    Attributes:
        raw_dict: the mapping itself, unless it has a key of that name.
    """

    raw_dict: Mapping[str, Any]

    def __init__(self, input_dict: Mapping[str, Any]) -> None:
        self.raw_dict = input_dict
        for key, value in input_dict.items():
            setattr(self, key, value)

    def validate(self) -> list[str]:
        """Say which declared parameters were not given, a sentence each.

        The parameters are the annotations of the class itself, or, when it has none, of the nearest class
        that it derives from. Only their names count: a type is not checked, and a value in the class body is
        no default, because the first Job Orchestration looked no further.
        """
        name = type(self).__name__
        return [f"{p} missing from {name}" for p in _declared(type(self)) if p not in vars(self)]


class TaskWithInitAndValidate(Dict2Class, TaskBase):
    """A task that needs neither a constructor nor a `validate` of its own; derive from it and annotate."""

    def __init__(self, config: dict[str, Any]) -> None:
        Dict2Class.__init__(self, config)


def _declared(kind: type) -> Iterable[str]:
    """The annotated names of the nearest class that has any; those of this package's classes do not count."""
    theirs = (c for c in kind.__mro__ if c not in {Dict2Class, TaskWithInitAndValidate, TaskBase})
    return next(filter(None, map(inspect.get_annotations, theirs)), {})
