"""Validate a document: return a config, or all its problems.

A check continues after a problem, so that a user corrects each of 500 configs once. Valid tasks are returned
even if other parts are invalid, so that their classes are looked for in the same pass. Unknown keys belong to
the tasks and pass through. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from job_orchestration.config import elements, notification_settings, words_without_effect
from job_orchestration.config.config import Config, TaskSpec
from job_orchestration.config.settings import (
    OTHER_RESOURCES,
    RULES,
    faults_of_resources,
    settings_of,
    shown,
)
from job_orchestration.config.yaml_reader import Node, capped, plain, read
from job_orchestration.diagnostics.problems import Fault, Problem, Severity, quoted
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_key
from job_orchestration.workspace.naming import fault_of_id, fault_of_method, render_output_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from job_orchestration.config.config import Json

__all__ = ["Checked", "check", "read_and_check"]

KNOWN_KEYS: Final = (
    *RULES,
    *("githubRepository", "pathToTasks", "outputDir", "tasks", "name", "tags"),
    *("sweep", "notify", notification_settings.CALLBACK, *notification_settings.CALLBACK_FLAGS),
    notification_settings.NOTIFY_ADDRESS,
)
"""The keys at the top of a config that mean something."""
OF_THE_SERVER: Final = ("allowedMethods", "callbackHosts")
"""Keys of ``workspace.yaml`` that say what may come over HTTP; they are no defaults of configs."""
KNOWN_DEFAULTS: Final = (
    *(key for key in KNOWN_KEYS if key != "sweep"),
    *("dashboardUrl", "cacheLimit", notification_settings.MAIL_SERVER, *OF_THE_SERVER),
)
"""Those of ``workspace.yaml``."""
OLD_PATH_TO_TASKS: Final = "pathToModuleCode"
OLD_NAMES: Final[Mapping[str, str]] = {OLD_PATH_TO_TASKS: "pathToTasks"}
"""Old names of keys, with the present names."""

_STEP = re.compile(r"\[([0-9]{1,9})\]|[^.\[\]]+")

FaultOf: TypeAlias = "Callable[[str], Fault | None]"


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    config: Config | None
    """``None`` if any problem is an error."""
    problems: tuple[Problem, ...]
    values: dict[str, Json]
    """All keys of the file and of the defaults, which the file overrides."""
    tasks: tuple[TaskSpec, ...]
    """One per entry of the list, in order; an invalid id or method is empty."""
    path_to_tasks: str | None
    root: Node | None = field(default=None, repr=False)

    def place(self, key: str) -> tuple[int, int]:
        """Return line and column of a key such as ``tasks[1].method``, or of its parent if it is missing."""
        return _place(self.root, key)


def read_and_check(data: bytes, file: str, name: str, defaults: Mapping[str, Json]) -> Checked:
    """Read and check a file; the result has a config only if neither step found an error.

    Args:
        data: the bytes of the file.
        file: its name, for the problems.
        name: the config's name, for ``{name}``.
        defaults: the values of ``workspace.yaml``.
    """
    root, problems = read(data, file)
    if root is None:
        return Checked(None, tuple(problems), {}, (), None)
    return _Check(root, file, name, defaults, problems).run()


def check(
    root: Node, file: str, name: str, defaults: Mapping[str, Json], problems: Iterable[Problem] = ()
) -> Checked:
    """Check a tree from `yaml_reader`, maybe with problems; arguments are those of `read_and_check`."""
    return _Check(root, file, name, defaults, [*problems]).run()


def _place(root: Node | None, key: str) -> tuple[int, int]:
    if root is None:
        return 0, 0
    node = _node(root, key)
    return node.line, node.column


def _node(root: Node, key: str) -> Node:
    """Return the node of a key such as ``tasks[1].method``, or of its parent if it is missing."""
    node = root
    if isinstance(root.value, Mapping) and key not in root.value:
        key = next((old for old, new in OLD_NAMES.items() if new == key and old in root.value), key)
    for step in _STEP.finditer(key):
        value = node.value
        if step[1] and isinstance(value, tuple) and int(step[1]) < len(value):
            node = value[int(step[1])]
        elif not step[1] and isinstance(value, Mapping) and step[0] in value:
            node = value[step[0]][1]
        else:
            break
    return node


class _Check:
    """One check of one file."""

    def __init__(
        self, root: Node, file: str, name: str, defaults: Mapping[str, Json], problems: list[Problem]
    ) -> None:
        self.root = root
        self.file = file
        self.name = name
        self.problems = problems
        own = plain(root)
        assert isinstance(own, dict), "a root is a mapping"
        self.own = own
        given = {OLD_NAMES.get(key, key) for key in own}
        self.defaults = {k: value for k, value in defaults.items() if OLD_NAMES.get(k, k) not in given}
        """Defaults that the config does not override; a key of the config also counts by its old name."""
        left_out = (*notification_settings.NEVER_COPIED, *OF_THE_SERVER)
        kept = [key for key in self.defaults if key not in left_out]
        self.values: dict[str, Json] = {**own, **{key: self.defaults[key] for key in kept}}

    def run(self) -> Checked:
        self._warn_of_doubtful_keys()
        self._old_names()
        self._text("githubRepository")
        path_to_tasks = self._text("pathToTasks")
        output_dir = self._output_dir()
        for key in RULES:
            self._setting(key, self.values.get(key), key)
        self._recipients()
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

    def _warn(self, key: str, what: str, todo: str, parent: str = "") -> None:
        """Add a warning at the position of a key, instead of its value; `parent` is the key above it."""
        at = _node(self.root, parent)
        if isinstance(at.value, Mapping) and key in at.value:
            at = at.value[key][0]
        where = f"{parent}.{key}" if parent else key
        self.problems.append(Problem(self.file, what, todo, where, at.line, at.column, Severity.WARNING))

    # -- single values --

    def _text(self, key: str) -> str | None:
        """Return the text of an optional key."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._note(key, f"{shown(value)} is not a text", "Put it in quotes if it is meant as one")
        elif not value or "\0" in value:
            self._note(key, f"{shown(value)} is not a usable text", "Write one, or leave the key out")
        else:
            return value
        return None

    def _setting(self, key: str, value: Json, place: str) -> None:
        rule = RULES[key]
        if key == "resources" and isinstance(value, dict):
            self._resources(value)
        elif value is not None and rule.read(value) is None:
            self._note(place, f"{shown(value)} is not {rule.wanted}", f"Write {rule.example}")

    def _resources(self, value: Mapping[str, Json]) -> None:
        for name, what, todo in faults_of_resources(value):
            self._note(f"resources.{name}", what, todo)
        for name in value:
            if meant := OTHER_RESOURCES.get(name):
                what = f"only workers with --resources {name}=N have this, and the run waits for one"
                self._warn(name, what, did_you_mean([quoted(meant)]), parent="resources")

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

    def _recipients(self) -> None:
        own = notification_settings.NOTIFY in self.own
        values = (
            self.values
            if own
            else {
                **self.values,
                notification_settings.NOTIFY: self.defaults.get(notification_settings.NOTIFY),
            }
        )
        for key, fault in notification_settings.faults_of(
            values, notification_settings.CONFIG if own else notification_settings.WORKSPACE
        ):
            self._note(key, *fault)

    def _old_names(self) -> None:
        for old, new in OLD_NAMES.items():
            if old not in self.values:
                continue
            self._warn(old, f"this is the old name of {new}", f"Write {new}")
            text = self._text(old)
            if text is not None and self.values.get(new) is None:
                self.values[new] = text

    def _warn_of_doubtful_keys(self) -> None:
        keys = [key for key in self.own if key not in OLD_NAMES]
        for doubt in words_without_effect.at_the_top(keys, KNOWN_KEYS, self.own):
            self._warn(*doubt)
        own = {key: value for key, value in self.values.items() if key in self.own}
        for key, what, todo in words_without_effect.in_values(own):
            line, column = _place(self.root, key)
            self.problems.append(Problem(self.file, what, todo, key, line, column, Severity.WARNING))

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
            for key, fault in elements.faults_of(task.parameters, first):
                self._note(f"tasks[{i}].{key}", *fault)
            if task.id and first.setdefault(task.id, i) != i:
                what = f"duplicate id {quoted(task.id)}, already used by tasks[{first[task.id]}]"
                self._note(f"tasks[{i}].id", what, "Give each task an id of its own")
            tasks.append(task)
        named = next((task for task in tasks if task.method and ":" not in task.method), None)
        given = [self.values.get(key) for key in ("pathToTasks", OLD_PATH_TO_TASKS)]
        if named and path_to_tasks is None and given == [None, None]:
            what = f"the folder of Tasks.py is missing, where the class {quoted(named.method)} is looked for"
            self._note("pathToTasks", what, "Write it, or write the method as package.module:Name")
        return tuple(tasks)

    def _task(self, entry: Json, place: str) -> TaskSpec:
        if not isinstance(entry, dict):
            self._note(
                place, f"{shown(entry)} is not a task", "Write an entry such as `{id: train, method: Train}`"
            )
            return TaskSpec("", "")
        for doubt in words_without_effect.in_entry(entry):
            self._warn(*doubt, parent=place)
        self._setting("timeout", entry.get("timeout"), f"{place}.timeout")
        parameters = {key: value for key, value in entry.items() if key not in {"id", "method"}}
        id_ = self._task_text(entry, "id", place, fault_of_id)
        method = self._task_text(entry, "method", place, fault_of_method)
        return TaskSpec(id_, method, parameters)

    def _task_text(self, entry: Mapping[str, Json], key: str, place: str, fault_of: FaultOf) -> str:
        value = entry.get(key)
        where = f"{place}.{key}"
        if value is None:
            near = next((other for other in entry if nearest_key(other, (key,), entry)), None)
            todo = f"Write it instead of {quoted(near)}" if near else "Write it"
            self._note(where, f"the task has no {key}", todo)
        elif not isinstance(value, str):
            self._note(where, f"{shown(value)} is not a text", "Put it in quotes if it is meant as one")
        elif fault := fault_of(value):
            self._note(where, *fault)
        else:
            return value
        return ""
