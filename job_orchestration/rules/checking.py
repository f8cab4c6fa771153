"""Checking: from a tree to a config, or to everything that is wrong with it.

A check goes on after a finding: whoever waits for 500 configs wants to mend each of them once. What could be
read of the tasks is handed out even when something else is wrong, so that their classes are looked for in the
same go. Keys that nobody here knows belong to the tasks and pass through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.model.config import Config
from job_orchestration.model.problem import Problem, Severity, quoted
from job_orchestration.model.task import TaskSpec
from job_orchestration.rules import notifying
from job_orchestration.rules.naming import Fault, fault_of_id, fault_of_method, render_output_dir
from job_orchestration.rules.reading import Node, capped, plain, read
from job_orchestration.rules.settings import RULES, parse_duration, parse_size, settings_of, shown
from job_orchestration.rules.slips import slip_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.model.task import Json

__all__ = ["Checked", "check", "parse_duration", "parse_size", "read_and_check", "settings_of"]

KNOWN_KEYS: Final = (
    *RULES,
    *"githubRepository pathToTasks outputDir tasks name tags".split(),  # noqa: SIM905 - a row
    *"inputs sweep reuse notify callbackUrl needs when foreach key job_type job_params".split(),  # noqa: SIM905 - a row
)
OLD_PATH_TO_TASKS: Final = "pathToModuleCode"

_STEP = re.compile(r"\[([0-9]{1,9})\]|[^.\[\]]+")

FaultOf: TypeAlias = "Callable[[str], Fault | None]"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    config: Config | None
    """``None`` when any problem is an error."""
    problems: tuple[Problem, ...]
    values: dict[str, Json]
    """All keys of the file, over the defaults."""
    tasks: tuple[TaskSpec, ...]
    """One per entry of the list, in its order; an id or method that could not be read is empty."""
    path_to_tasks: str | None
    root: Node | None = field(default=None, repr=False)

    def place(self, key: str) -> tuple[int, int]:
        """Line and column of a dotted key such as ``tasks[1].method``, or of what should hold it."""
        return _place(self.root, key)


def read_and_check(data: bytes, file: str, name: str, defaults: Mapping[str, Json]) -> Checked:
    """`read` and `check` in one: the problems of both, and a config only when neither found an error.

    Args:
        data: the bytes of the file.
        file: its name, for the problems.
        name: the config's name, for ``{name}``.
        defaults: what the workspace says for every config.
    """
    root, problems = read(data, file)
    if root is None:
        return Checked(None, tuple(problems), {}, (), None)
    return _Check(root, file, name, defaults, problems).run()


def check(
    root: Node, file: str, name: str, defaults: Mapping[str, Json], problems: Iterable[Problem] = ()
) -> Checked:
    """Check a tree that was read, maybe with problems; the arguments are those of `read_and_check`."""
    return _Check(root, file, name, defaults, [*problems]).run()


def _place(root: Node | None, key: str) -> tuple[int, int]:
    if root is None:
        return 0, 0
    node = root
    for step in _STEP.finditer(key):
        value = node.value
        if step[1] and isinstance(value, tuple) and int(step[1]) < len(value):
            node = value[int(step[1])]
        elif not step[1] and isinstance(value, Mapping) and step[0] in value:
            node = value[step[0]][1]
        else:
            break
    return node.line, node.column


class _Check:
    """One check of one file."""

    def __init__(
        self, root: Node, file: str, name: str, defaults: Mapping[str, Json], problems: list[Problem]
    ) -> None:
        self.root = root
        self.file = file
        self.name = name
        self.defaults = defaults
        self.problems = problems
        own = plain(root)
        assert isinstance(own, dict), "a root is a mapping"
        self.own = own
        kept = [key for key in defaults if key not in own and key != notifying.NOTIFY]
        self.values: dict[str, Json] = {**own, **{key: defaults[key] for key in kept}}

    def run(self) -> Checked:
        self._warn_of_slips()
        self._old_names()
        self._text("githubRepository")
        path_to_tasks = self._text("pathToTasks")
        output_dir = self._output_dir()
        for key in RULES:
            self._setting(key, self.values.get(key), key)
        self._who_is_told()
        tasks = self._tasks(path_to_tasks)
        problems = tuple(capped(self.problems))
        config = None
        if not any(problem.is_error for problem in self.problems):
            config = Config(
                self.name, self.values, tasks, output_dir, path_to_tasks, settings_of(self.values)
            )
        return Checked(config, problems, self.values, tasks, path_to_tasks, self.root)

    def _note(self, key: str, what: str, todo: str) -> None:
        top = _STEP.match(key)
        if top and top[0] not in self.own and top[0] in self.defaults:
            what += ", which workspace.yaml says"
        line, column = _place(self.root, key)
        self.problems.append(Problem(self.file, what, todo, key, line, column))

    def _warn(self, key: str, what: str, todo: str) -> None:
        """Warn of a key itself, so at its own place and not at its value's."""
        entries = self.root.value
        at = entries[key][0] if isinstance(entries, Mapping) and key in entries else self.root
        self.problems.append(Problem(self.file, what, todo, key, at.line, at.column, Severity.WARNING))

    # -- single values --

    def _text(self, key: str) -> str | None:
        """The text of a key that may be left out."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._note(key, f"{shown(value)} is not a text", "Put it in quotes if it is meant as one")
        elif not value or "\0" in value:
            self._note(key, f"{shown(value)} is no usable text", "Write one, or leave the key out")
        else:
            return value
        return None

    def _setting(self, key: str, value: Json, place: str) -> None:
        rule = RULES[key]
        if value is not None and rule.read(value) is None:
            self._note(place, f"{shown(value)} is not {rule.wanted}", f"Write {rule.example}")

    def _output_dir(self) -> str:
        example = 'Write one such as "{date}/{name}"'
        template = self.values.get("outputDir")
        if template is None:
            self._note("outputDir", "the folder for the output is missing", example)
        elif not isinstance(template, str):
            self._note("outputDir", f"{shown(template)} is not a text", example)
        else:
            some_time = datetime(2000, 1, 1, tzinfo=UTC)
            fault = render_output_dir(template, name=self.name, now=some_time, commit=None)
            if not isinstance(fault, Fault):
                return template
            self._note("outputDir", *fault)
        return ""

    def _who_is_told(self) -> None:
        own = notifying.NOTIFY in self.own
        told = self.values if own else {**self.values, notifying.NOTIFY: self.defaults.get(notifying.NOTIFY)}
        for key, fault in notifying.faults_of(told, notifying.CONFIG if own else notifying.WORKSPACE):
            self._note(key, *fault)

    def _old_names(self) -> None:
        if OLD_PATH_TO_TASKS not in self.values:
            return
        self._warn(OLD_PATH_TO_TASKS, "this is the old name of pathToTasks", "Write pathToTasks")
        self.values.setdefault("pathToTasks", self.values[OLD_PATH_TO_TASKS])

    def _warn_of_slips(self) -> None:
        for key in self.own:
            if key != OLD_PATH_TO_TASKS and (near := slip_for(key, KNOWN_KEYS, self.values)):
                self._warn(
                    key,
                    "this is no known key and goes to the tasks as it is",
                    f"Did you mean {quoted(near)}?",
                )

    # -- tasks --

    def _tasks(self, path_to_tasks: str | None) -> tuple[TaskSpec, ...]:
        entries = self.values.get("tasks")
        example = "Write a list of entries such as `- {id: train, method: Train}`"
        if entries is None:
            self._note("tasks", "the tasks are missing", example)
            return ()
        if not isinstance(entries, list) or not entries:
            self._note("tasks", f"{shown(entries)} is not a list of tasks", example)
            return ()
        first: dict[str, int] = {}
        tasks = []
        for i, entry in enumerate(entries):
            task = self._task(entry, f"tasks[{i}]")
            if task.id and first.setdefault(task.id, i) != i:
                what = f"duplicate id {quoted(task.id)}, which tasks[{first[task.id]}] has already"
                self._note(f"tasks[{i}].id", what, "Give each task an id of its own")
            tasks.append(task)
        named = next((task for task in tasks if task.method and ":" not in task.method), None)
        if named and path_to_tasks is None and self.values.get("pathToTasks") is None:
            what = f"the folder of Tasks.py is missing, where the class {quoted(named.method)} is looked for"
            self._note("pathToTasks", what, "Write it, or write the method as package.module:Name")
        return tuple(tasks)

    def _task(self, entry: Json, place: str) -> TaskSpec:
        if not isinstance(entry, dict):
            self._note(
                place, f"{shown(entry)} is not a task", "Write an entry such as `{id: train, method: Train}`"
            )
            return TaskSpec("", "")
        self._setting("timeout", entry.get("timeout"), f"{place}.timeout")
        parameters = {key: value for key, value in entry.items() if key not in {"id", "method"}}
        id_ = self._task_text(entry, "id", place, fault_of_id)
        method = self._task_text(entry, "method", place, fault_of_method)
        return TaskSpec(id_, method, parameters)

    def _task_text(self, entry: Mapping[str, Json], key: str, place: str, fault_of: FaultOf) -> str:
        value = entry.get(key)
        where = f"{place}.{key}"
        if value is None:
            near = next((other for other in entry if slip_for(other, (key,), entry)), None)
            todo = f"Write it instead of {quoted(near)}" if near else "Write it"
            self._note(where, f"the task has no {key}", todo)
        elif not isinstance(value, str):
            self._note(where, f"{shown(value)} is not a text", "Put it in quotes if it is meant as one")
        elif fault := fault_of(value):
            self._note(where, *fault)
        else:
            return value
        return ""
