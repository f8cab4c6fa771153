"""What differs between two runs, and whether one of the differences could explain their results. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.comparison import values
from job_orchestration.config import json_floats
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.comparison.code_changes import CodeChanges
    from job_orchestration.comparison.values import ValueChange
    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState

_ENVIRONMENT: Final = ("python", "platform", "host", "cpu_count", "user")
"""Keys of the provenance that say where a run was executed."""
_LATER: Final = ("machine", "variables", "editable")
"""Further ones, which earlier releases did not record: compared if both runs have them."""
_NOT_A_CAUSE: Final = re.compile(r"user|python\.executable|machine\.memory_bytes|editable\..*\.folder")
_PARTS: Final = ("parameters", "settings", "packages", "environment", "inputs", "durations", "usage")
_SEVERAL: Final = {"environment": "facts of the environment", "code": "parts of the code"}
_LONGEST: Final = 60
"""Most characters of a value in a sentence."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs that are compared."""

    run: str
    parameters: Mapping[str, Json]
    """What the config says beside how the run is treated, flattened as in `results`."""
    results: Mapping[str, Json]
    """What the tasks returned and saved, flattened as in `results`."""
    state: RunState
    provenance: Mapping[str, Any] = field(default_factory=dict)
    aims: Mapping[str, bool] = field(default_factory=dict)
    """Of results whose direction a search says whether the highest value is the best."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """The files that the config names as inputs, path to sha256; empty if it names none."""

    @property
    def seed_was_drawn(self) -> bool:
        """Whether the config names no seed, so that the run got one of its own."""
        return self.state.values.get("seed") is None

    @property
    def packages(self) -> Mapping[str, Json]:
        """The installed packages, name to version; empty if they were not recorded."""
        found = self.provenance.get("packages")
        return found if isinstance(found, dict) else {}

    @property
    def environment(self) -> dict[str, Json]:
        """Python, platform and machine, as far as they were recorded."""
        return {key: self.provenance[key] for key in (*_ENVIRONMENT, *_LATER) if key in self.provenance}

    @property
    def settings(self) -> dict[str, Json]:
        """The keys of the config that say how the run is treated."""
        tops = {name.partition(".")[0] for name in self.parameters}
        left_out = {"tasks", "outputDir", "seed", *tops}
        return {key: value for key, value in self.state.values.items() if key not in left_out}


@dataclass(frozen=True, slots=True)
class Cause:
    """A difference that could explain other results."""

    kind: str
    """``parameter``, ``code``, ``package``, ``input``, ``environment`` or ``seed``."""
    name: str
    before: Json
    after: Json

    @property
    def sentence(self) -> str:
        """The difference in a few words: ``lr 0.01 → 0.1``."""
        if self.kind == "code":
            return f"the code ({self.name})"
        if self.kind == "input":
            return f"the input {escaped(self.name)}"
        return f"{escaped(self.name)} {shown(self.before)} → {shown(self.after)}"

    def as_json(self) -> dict[str, Any]:
        """Return the cause as ``diff --json`` has it."""
        return {"kind": self.kind, "name": self.name, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that is recorded of two runs and differs."""

    before: str
    after: str
    parameters: tuple[ValueChange, ...]
    settings: tuple[ValueChange, ...]
    """Keys of the configs that say how a run is treated: limits, priority, …"""
    code: CodeChanges
    packages: tuple[ValueChange, ...]
    environment: tuple[ValueChange, ...]
    inputs: tuple[ValueChange, ...]
    """Files that the configs name as inputs, with their sha256."""
    results: tuple[ValueChange, ...]
    durations: tuple[ValueChange, ...]
    """Seconds of each finished task."""
    usage: tuple[ValueChange, ...]
    """What each finished task used, where both runs recorded it."""
    seeds: tuple[int, int]
    drawn: bool
    """Whether a seed was drawn rather than chosen by the config."""
    has_results: bool
    aims: Mapping[str, bool] = field(default_factory=dict)
    """Of results whose direction is known whether the highest value is the best."""

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The differences that could explain other results, but for seeds that were drawn."""
        found = [*_causes("parameter", self.parameters)]
        if self.code.files or self.code.fault:
            number = len(self.code.files)
            name = counted(number, "file") if number else "its files are unknown"
            found.append(Cause("code", name, self.code.before, self.code.after))
        for task in self.code.tasks:
            name = counted(len(task.files), "file") if task.files else "its files are unknown"
            found.append(Cause("code", f"of the task {escaped(task.task)}, {name}", task.before, task.after))
        found += _causes("package", self.packages)
        found += _causes("input", self.inputs)
        found += _causes("environment", (c for c in self.environment if not _NOT_A_CAUSE.fullmatch(c.name)))
        if self.seeds[0] != self.seeds[1] and not self.drawn:
            found.append(Cause("seed", "seed", *self.seeds))
        return tuple(found)

    @property
    def only(self) -> Cause | None:
        """The single difference that could explain other results; `None` if there is none, or more."""
        causes = self.causes
        if not causes and self._seeds_differ:
            return Cause("seed", "seed", *self.seeds)
        return causes[0] if len(causes) == 1 else None

    def better(self, change: ValueChange) -> bool | None:
        """Return whether a result is better in the second run; `None` if its direction is not known."""
        before, after = values.number(change.before), values.number(change.after)
        if change.name not in self.aims or before is None or after is None or isnan(before + after):
            return None
        return (after > before) is self.aims[change.name]

    @property
    def _seeds_differ(self) -> bool:
        return self.seeds[0] != self.seeds[1]

    @property
    def verdict(self) -> str:
        """One sentence that says what differs."""
        causes, only = self.causes, self.only
        drawn = (
            "; each run has drawn a seed of its own" if causes and self.drawn and self._seeds_differ else ""
        )
        if only is not None:
            own = " (drawn for each run)" if only.kind == "seed" and self.drawn else ""
            return f"One thing differs: {only.sentence}{own}{drawn}"
        if causes:
            return f"{len(causes)} things differ: {', '.join(_counted(causes))}{drawn}"
        if self.results:
            return "Nothing that could explain the difference of the results is recorded"
        return "Nothing differs" + (" and the results are the same" if self.has_results else "")

    def as_json(self) -> dict[str, Any]:
        """Return the difference as ``diff --json`` prints it."""
        only = self.only
        found: dict[str, Any] = {
            "before": self.before,
            "after": self.after,
            "verdict": self.verdict,
            "only": None if only is None else only.as_json(),
            "causes": [cause.as_json() for cause in self.causes],
            **{part: [change.as_json() for change in getattr(self, part)] for part in _PARTS},
            "results": [{**change.as_json(), "better": self.better(change)} for change in self.results],
            "code": self.code.as_json(),
            "seeds": {"before": self.seeds[0], "after": self.seeds[1], "drawn": self.drawn},
        }
        return {key: json_floats.strict(value) for key, value in found.items()}


def between(before: Side, after: Side, code: CodeChanges) -> Difference:
    """Compare two runs; `code` is what differs in their code."""
    aims = {**before.aims, **after.aims}
    agreed = {name: high for name, high in aims.items() if before.aims.get(name, high) is high}
    return Difference(
        before.run,
        after.run,
        tuple(values.changes(before.parameters, after.parameters)),
        tuple(values.changes(before.settings, after.settings)),
        code,
        tuple(values.changes(before.packages, after.packages)) if before.packages and after.packages else (),
        tuple(_environment_changes(before, after)),
        tuple(values.changes(before.inputs, after.inputs)) if before.inputs and after.inputs else (),
        tuple(values.changes(before.results, after.results)),
        tuple(values.changes(_durations(before), _durations(after))),
        tuple(c for c in values.changes(_usage(before), _usage(after)) if not (c.added or c.removed)),
        (before.state.seed, after.state.seed),
        before.seed_was_drawn or after.seed_was_drawn,
        bool(before.results and after.results),
        agreed,
    )


def of_many(sides: Sequence[Side]) -> list[dict[str, Json]]:
    """Return a row for each run, with only what differs between some of them.

    Returns:
        ``run``, the parameters, ``commit``, ``commit:TASK``, ``package:NAME`` and environment that differ,
        then all results. A task that ran before a retry in other code has a column of
        its own.
    """
    rows = [_row(side) for side in sides]
    for name, commits in _commits_of_tasks(sides).items():
        for row, commit in zip(rows, commits, strict=True):
            row[name] = commit
    keys = dict.fromkeys(key for row in rows for key in row)
    differing = [k for k in keys if any(not values.are_same(rows[0].get(k), row.get(k)) for row in rows)]
    results = dict.fromkeys(name for side in sides for name in side.results)
    return [
        {
            "run": side.run,
            **{key: row.get(key) for key in differing},
            **{f"result.{n}" if n in row else n: side.results.get(n) for n in results},
        }
        for side, row in zip(sides, rows, strict=True)
    ]


def _commits_of_tasks(sides: Sequence[Side]) -> dict[str, list[str | None]]:
    """Return the commits of each task that did not run in its run's commit, a list with one for each run."""
    found = [side.state.commits for side in sides]
    own = [side.state.code.commit if side.state.code else None for side in sides]
    odd = {
        id_: None
        for commits, now in zip(found, own, strict=True)
        for id_, commit in commits.items()
        if commit != now
    }
    return {f"commit:{id_}": [commits.get(id_) for commits in found] for id_ in odd}


def _row(side: Side) -> dict[str, Json]:
    code = side.state.code
    row: dict[str, Json] = dict(side.parameters)
    row["commit"] = code.commit if code else None
    row |= {f"input:{name}": digest for name, digest in side.inputs.items()}
    row |= {f"package:{name}": version for name, version in side.packages.items()}
    for key, value in side.environment.items():
        if isinstance(value, dict):
            row |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            row[key] = value
    if not side.seed_was_drawn:
        row["seed"] = side.state.seed
    return row


def shown(value: Json) -> str:
    """Return a value for a sentence: short, on one line."""
    text = value if isinstance(value, str) else json_floats.text_of(value)
    return escaped(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _durations(side: Side) -> dict[str, Json]:
    return {
        task.id: task.duration_s
        for task in side.state.tasks
        if task.duration_s is not None and task.reused_from is None
    }


def _usage(side: Side) -> dict[str, Json]:
    return {task.id: asdict(task.usage) for task in side.state.tasks if task.usage is not None}


def _environment_changes(before: Side, after: Side) -> Iterator[ValueChange]:
    one, other = before.environment, after.environment
    unknown = {key for key in _LATER if key not in one or key not in other}
    one, other = ({k: v for k, v in side.items() if k not in unknown} for side in (one, other))
    return values.changes(one, other)


def _causes(kind: str, changes: Iterable[ValueChange]) -> Iterator[Cause]:
    for change in changes:
        yield Cause(kind, change.name, change.before, change.after)


def _counted(causes: Sequence[Cause]) -> Iterator[str]:
    """Yield the causes by kind: ``2 parameters``, ``the code (1 file)``."""
    kinds: dict[str, list[Cause]] = {}
    for cause in causes:
        kinds.setdefault(cause.kind, []).append(cause)
    for kind, found in kinds.items():
        if len(found) == 1:
            yield found[0].sentence
        else:
            yield f"{len(found)} {_SEVERAL.get(kind, f'{kind}s')}"
