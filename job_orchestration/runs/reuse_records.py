"""What a checkpoint depends on, and the first difference to what a task depends on now.

The *basis* is known before a task runs: the files of the snapshot that were imported, its parameters, inputs,
seed, packages and earlier results. Checkpoints are found by a digest of it. What a task did beside (modules
that it imported later, files that it opened) is known only of the earlier one, and is compared piece by piece
by `executor.reused_tasks`. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.settings import RULES
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from job_orchestration.config.config import Json, TaskSpec
    from job_orchestration.runs.events import TaskFinished
    from job_orchestration.runs.state import TaskState

_MAY_MATTER: Final = frozenset({"isolation", "resources", "inputs"})
"""Settings that a task may notice: how its process starts, and on how many processors it computes."""
NO_PARAMETERS: Final = frozenset(
    {
        *(key for key in RULES if key not in _MAY_MATTER),
        *("outputDir", "pathToTasks", "githubRepository", "name", "tags", "notify", "callbackUrl", "sweep"),
        *("callbackProgress", "callbackPublicOnly", "notifyAddress", "dashboardUrl", "cacheLimit", "tasks"),
    }
)
"""Keys of the top of a config that say how a run is treated or called. The seed is compared by itself."""
_OF_ENTRY: Final = frozenset({"id", "timeout"})
_LONGEST: Final = 60
_HIDDEN: Final = "sha256:"


@dataclass(frozen=True, slots=True)
class Basis:
    """What a task depends on, as far as that is known before it runs."""

    method: str
    code: Mapping[str, str]
    """The files of the snapshot that were imported before the first task, and their digests."""
    parameters: Mapping[str, str]
    """What the task sees of the config: ``taskId.key``, or a key of the top, to a JSON text or a digest."""
    inputs: Mapping[str, Json]
    """The declared input files and their digests."""
    seed: int
    packages: str
    """The digest of the installed packages, whose list is in ``Misc/packages``."""
    machine: Mapping[str, str]
    """Python, system, processor and the variables of the environment that matter."""
    earlier: Mapping[str, str]
    """The earlier tasks of the run, and the digests of their checkpoints."""

    @property
    def key(self) -> str:
        """Return a digest of the whole."""
        return digest_of(asdict(self))


@dataclass(frozen=True, slots=True)
class Traces:
    """What a task did beside, as far as it was observed; all comparable with a later state of the disk."""

    modules: Mapping[str, str] = field(default_factory=dict)
    """The files of the snapshot that were imported while tasks ran, and their digests."""
    looked_for: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Modules that were looked for, and the places in the snapshot that have one."""
    committed: Mapping[str, str | None] = field(default_factory=dict)
    """Other files and folders of the snapshot that were read: digests; `None` for what was not there."""
    files: Mapping[str, Json] = field(default_factory=dict)
    """Files elsewhere: size and time of change; `None` for what was not there, a digest for a folder."""
    tree: str | None = None
    """The whole commit's tree, if a program was started, which may read any of it."""


@dataclass(frozen=True, slots=True)
class Record:
    """A checkpoint of a run, and what it depends on."""

    run: str
    task: str
    checkpoint: str
    """Digest of the result and of the files."""
    basis: Basis
    traces: Traces = field(default_factory=Traces)
    imported: tuple[str, ...] = ()
    unusable: str | None = None
    """Why the task runs again in any case: what it did in this run."""

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Record:
        """Return the record in a JSON value.

        Raises:
            TypeError: if it is none.
            KeyError: if a part is missing.
        """
        basis, traces = value["basis"], value["traces"]
        own = {f.name: value[f.name] for f in fields(cls) if f.name not in {"basis", "traces", "imported"}}
        if not isinstance(own["run"], str) or not isinstance(own["task"], str):
            raise TypeError(own)
        return cls(basis=Basis(**basis), traces=Traces(**traces), imported=tuple(value["imported"]), **own)


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON value, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def checkpoint_digest(task: TaskState | TaskFinished) -> str:
    """Return a digest of a task's result and files, wherever they lie."""
    prefix = f"{task.folder}/"
    files = [[output.path.removeprefix(prefix), output.bytes, output.sha256] for output in task.outputs]
    return digest_of([task.result, task.folder is not None, files])


def parameters_of(
    values: Mapping[str, Json], specs: Sequence[TaskSpec], index: int, run_folder: str = ""
) -> dict[str, str]:
    """Return what one task of a config can see of it and may matter: place to JSON text, or to a digest.

    Args:
        values: the config.
        specs: its tasks.
        index: of the task. What comes after it is not shown to it.
        run_folder: the run's folder; a path in it is compared without it.
    """
    own = specs[index].parameters
    found: dict[str, str] = {}
    for spec in (specs[index], *specs[:index]):
        entry = {k: v for k, v in spec.parameters.items() if k not in _OF_ENTRY}
        found |= _texts(spec.id, entry, run_folder)
    top = {key: value for key, value in values.items() if key not in NO_PARAMETERS and key not in own}
    return {**found, **_texts("", top, run_folder)}


def _texts(place: str, values: Mapping[str, Json], run_folder: str) -> dict[str, str]:
    """Flatten a mapping. Long values, and what may be a secret, are only known by their digests."""
    found: dict[str, str] = {}
    for key, value in values.items():
        path = f"{place}.{key}" if place else key
        if isinstance(value, dict) and value:
            found |= _texts(path, value, run_folder)
            continue
        own = f"{run_folder}/"
        is_inside = isinstance(value, str) and value.startswith(own)
        seen = f"./{str(value).removeprefix(own)}" if is_inside and run_folder else value
        text = json.dumps(seen, sort_keys=True, ensure_ascii=False)
        is_plain = len(text) <= _LONGEST and secrets.masked_values({key: seen}) == {key: seen}
        found[path] = text if is_plain else f"{_HIDDEN}{digest_of(seen)}"
    return found


def why_not(
    old: Record, now: Basis, packages_of: Callable[[str], Mapping[str, str] | None] = lambda _: None
) -> str | None:
    """Return the first difference between what an earlier task depended on and what one depends on now.

    Args:
        old: the earlier task.
        now: what it depends on now.
        packages_of: returns the list of a digest of packages, as far as it is known.
    """
    if old.unusable is not None:
        return f"in {old.run} it {old.unusable}"
    was = old.basis
    found = (
        *_values("", {"method": was.method}, {"method": now.method}),
        *_contents("module", was.code, now.code),
        *_values("parameter", was.parameters, now.parameters),
        *_contents("input", was.inputs, now.inputs),
        *_values("", {"seed": str(was.seed)}, {"seed": str(now.seed)}),
        *_packages(was.packages, now.packages, packages_of),
        *_values("", was.machine, now.machine),
        *_contents("result of", was.earlier, now.earlier),
    )
    return next(iter(found), None)


def _packages(old: str, new: str, packages_of: Callable[[str], Mapping[str, str] | None]) -> Iterator[str]:
    if old != new:
        before, now = packages_of(old), packages_of(new)
        if before is not None and now is not None:
            yield from _values("package", before, now)
        yield "packages changed"


def _contents(kind: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    """Yield a phrase for each difference between files or results, of which the digests are known."""
    for name in (*old, *(n for n in new if n not in old)):
        if name not in new:
            yield f"{kind} {escaped(name)} is gone"
        elif name not in old:
            yield f"{kind} {escaped(name)} is new"
        elif old[name] != new[name]:
            yield f"{kind} {escaped(name)} changed"


def _values(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """Yield a phrase for each difference between values."""
    for name in (*new, *(n for n in old if n not in new)):
        what = f"{kind} {escaped(name)}".strip()
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        if before is None or now is None:
            yield f"{what} is new" if before is None else f"{what} is gone"
        elif before.startswith(_HIDDEN) or now.startswith(_HIDDEN):
            yield f"{what} changed"
        else:
            yield f"{what} {escaped(before)} → {escaped(now)}"
