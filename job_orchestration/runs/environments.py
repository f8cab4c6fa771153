"""In which environment a run was queued, and in which its tasks ran.

``provenance.json`` holds the environment of the process that queued the run. Each attempt's `claimed` event
names the environment of its worker, whose interpreter the tasks run in: a file in ``Misc/environments``,
written once for all workers that are alike. Both name their packages by a digest, whose content is in
``Misc/packages``. Runs of older releases have their packages in ``provenance.json``, and no environment of
their worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.runs import provenance_file, stored_lists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.runs.state import RunState
    from job_orchestration.workspace.layout import Workspace

PACKAGES: Final = "packages"
DIGEST: Final = "packages_digest"
"""Key of the digest of the installed packages."""
KEYS: Final = (
    *("python", "platform", "host", "user", "cpu_count", "machine", "variables"),
    *("job_orchestration", DIGEST, "editable"),
)
"""Keys of an environment; in ``provenance.json`` they stand beside the others."""


def with_stored_packages(workspace: Workspace, environment: Mapping[str, Json]) -> dict[str, Json]:
    """Return an environment with its packages stored and named by digest.

    Raises:
        OSError: the disk refuses.
    """
    others = {key: value for key, value in environment.items() if key != PACKAGES}
    return {**others, DIGEST: stored_lists.write(workspace.packages, environment[PACKAGES])}


def of_this_process(workspace: Workspace) -> dict[str, Json]:
    """Return the environment of this process as a provenance has it, with its packages stored.

    Raises:
        OSError: the disk refuses.
    """
    from job_orchestration.code import provenance  # 15 ms, which readers do not need

    found = with_stored_packages(workspace, provenance.environment())
    return {**found, "git": provenance.git_version()}


def store(workspace: Workspace, environment: Mapping[str, Json]) -> str:
    """Store an environment and its packages, if they are not there yet; return the environment's digest.

    Raises:
        OSError: the disk refuses.
    """
    return stored_lists.write(workspace.environments, with_stored_packages(workspace, environment))


def packages_of(workspace: Workspace, described: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages of an environment or a provenance, name to version; empty if they are not known."""
    inline = described.get(PACKAGES)
    found = (
        inline if isinstance(inline, dict) else stored_lists.read(workspace.packages, described.get(DIGEST))
    )
    return {str(n): str(v) for n, v in found.items()} if isinstance(found, dict) else {}


def of_run(workspace: Workspace, run: str, state: RunState, task: str | None = None) -> dict[str, Any]:
    """Return the environment that a run ran in: of its last attempt, or of the last try of a task.

    Where that was not recorded it is the environment that the run was queued in.

    Returns:
        The keys `KEYS`, as far as they are known, and ``packages``, name to version.
    """
    digest = state.environment
    if task is not None:
        digest = next((t.environment for t in state.tasks if t.id == task), None)
    found = stored_lists.read(workspace.environments, digest)
    if not isinstance(found, dict):
        found = provenance_file.read(workspace.run_folder(run)) or {}
    return {**{k: found[k] for k in KEYS if k in found}, PACKAGES: packages_of(workspace, found)}
