"""Provenance: all that is needed to have a run again, and to see later what was different about it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, cast

from job_orchestration.model.problem import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.model.task import Json


@dataclass(frozen=True, slots=True)
class Provenance:
    """What ``provenance.json`` says about a run. ``None``: there is none, or it is not known."""

    run: str
    config: str
    """The name of the config: the stem of the file that was dropped."""
    digest: str
    """sha256 of ``config.yaml``, in hex."""
    readied_at: str
    """UTC, ISO 8601."""
    seed: int
    commit: str | None = None
    """What the run executes; a captured commit is only in ``Misc/code.git``."""
    folder: str | None = None
    """The folder of ``Tasks.py``, relative to the top of the commit's tree."""
    work_tree: str | None = None
    """Where the commit was pinned from; it may be gone by now."""
    branch: str | None = None
    origin: str | None = None
    """The address of the repository's remote ``origin``, without credentials."""
    github_repository: str | None = None
    """What the config says under ``githubRepository``; never contacted."""
    sweep: str | None = None
    """The sweep that the run is a trial of."""
    parameters: Mapping[str, Json] | None = None
    """What the sweep chose for this run."""
    dirty: tuple[str, ...] = ()
    """The files that were captured from a dirty work tree, relative to its top."""
    argv: tuple[str, ...] = ()
    """The command that readied the run."""
    source: str | None = None
    """The author's file, as it was dropped: with its comments and placeholders."""
    environment: Mapping[str, Json] = field(default_factory=dict)
    """Of the process that readied it: ``python``, ``platform``, ``host``, ``user``, ``packages``, …"""

    def as_json(self) -> dict[str, Json]:
        """One flat object: the environment's keys stand beside the others. Names of files are printable."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "environment"}
        plain = {k: [escaped(e) for e in v] if isinstance(v, tuple) else v for k, v in own.items()}
        return {**self.environment, **cast("dict[str, Json]", plain)}
