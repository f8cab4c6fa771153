"""What is not as it was when a run was executed: packages, Python, the machine, and the inputs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import provenance
from job_orchestration.comparison import values
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import environments, inputs, provenance_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

_KEYS: Final = {
    "Python": ("python", ("version", "implementation")),
    "system": ("platform", ("system", "release", "machine")),
    "machine": ("machine", ("cpu", "memory_bytes", "gpus")),
}
"""What is compared of an environment, by the kind of the difference."""
_SINGLE: Final = ("host", "cpu_count")
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """One thing that is not as it was."""

    kind: str
    """``package``, ``editable package``, ``Python``, ``system``, ``machine``, ``variable`` or ``input``."""
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """Return it as a phrase: ``package numpy 2.1.0 → 2.4.6``."""
        return f"{self.kind} {escaped(self.name)} {_shown(self.before)} → {_shown(self.after)}"

    def as_json(self) -> dict[str, Any]:
        """Return it as ``rerun --json`` has it."""
        return {"kind": self.kind, "name": self.name, "before": self.before, "after": self.after}


def _shown(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = escaped(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def changes_since(
    workspace: Workspace, run: str, state: RunState, *, with_packages: bool = True
) -> tuple[EnvironmentChange, ...]:
    """Compare the environment of a run with that of this process, as far as it was recorded.

    Args:
        workspace: the workspace.
        run: the run.
        state: its state.
        with_packages: whether packages and Python count; they do not if the run gets those of before.
    """
    before, now = environments.of_run(workspace, run, state), provenance.environment()
    found = _changes(before, now, with_packages=with_packages)
    return (*found, *_changes_of_inputs(workspace, run, state))


def _changes_of_inputs(workspace: Workspace, run: str, state: RunState) -> Iterator[EnvironmentChange]:
    """Compare the input files that a run recorded with what they are now."""
    recorded = inputs.recorded(workspace, provenance_file.read(workspace.run_folder(run)))
    patterns = state.values.get("inputs")
    if not recorded or not isinstance(patterns, (str, list)):
        return
    named = [patterns] if isinstance(patterns, str) else [str(pattern) for pattern in patterns]
    code = state.code
    snapshot = os.path.join(workspace.misc, "snapshots", code.commit, code.folder) if code else workspace.root
    now = inputs.current(workspace, named, os.path.normpath(snapshot)).hashes
    before = {path: about.get("sha256") for path, about in recorded.items()}
    for path in inputs.difference(before, now):
        yield EnvironmentChange("input", path, _short(before.get(path)), _short(now.get(path)))


def _short(digest: str | None) -> str | None:
    return digest[:12] if digest else None


def _changes(
    before: Mapping[str, Any], now: Mapping[str, Any], *, with_packages: bool
) -> Iterator[EnvironmentChange]:
    if with_packages and before.get(environments.PACKAGES):
        yield from _of("package", before[environments.PACKAGES], now[environments.PACKAGES])
    if with_packages and isinstance(before.get("editable"), dict):
        old, new = before["editable"], now["editable"]
        yield from _of("editable package", *({n: _commit(e) for n, e in d.items()} for d in (old, new)))
    for kind, (key, names) in _KEYS.items():
        if (with_packages or kind != "Python") and isinstance(before.get(key), dict):
            old, new = ({name: d[key].get(name) for name in names} for d in (before, now))
            yield from _of(kind, {n: v for n, v in old.items() if n in before[key]}, new)
    single = {key: before[key] for key in _SINGLE if key in before}
    yield from _of("machine", single, {key: now[key] for key in single})
    if isinstance(before.get("variables"), dict):
        yield from _of("variable", before["variables"], now["variables"])


def _commit(editable: Any) -> Any:
    return editable.get("commit") if isinstance(editable, dict) else None


def _of(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[EnvironmentChange]:
    for change in values.changes(before, after):
        if kind in {"package", "editable package", "variable"} or change.name.partition(".")[0] in before:
            yield EnvironmentChange(kind, change.name, change.before, change.after)
