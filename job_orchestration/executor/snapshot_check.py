"""Before a snapshot is imported, put back what was changed in it, and say so.

Modes keep tasks from writing into a snapshot, but they do not bind root, and anybody may change the modes of
their own files. As root this is done before each attempt: tasks import and read its files while they run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.code.snapshots import CodeStore
from job_orchestration.diagnostics.problems import escaped, named
from job_orchestration.runs import trash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from job_orchestration.workspace.layout import Workspace


def is_due(*, is_imported: bool) -> bool:
    """Return whether a snapshot is to be compared now.

    Args:
        is_imported: whether a fork server has imported it.
    """
    return not is_imported or os.geteuid() == 0


def mend(workspace: Workspace, snapshot: str, say: Callable[[str], None]) -> None:
    """Compare a snapshot with its commit; what is not the commit's goes to the trash.

    Raises:
        CodeError: if it was changed and the commit cannot be checked out.
        OSError: if it cannot be read or written.
    """
    commit = os.path.basename(snapshot)
    places: list[str] = []

    def put_away(files: Mapping[str, str]) -> None:
        places.append(trash.put_files_away(workspace, f"snapshot {commit[:12]}", files))

    changed = CodeStore(Path(workspace.misc)).mend_snapshot(commit, put_away)
    if changed:
        where = f"; what was there lies in {os.path.relpath(places[0], workspace.root)}" if places else ""
        say(
            f"The snapshot of commit {commit[:12]} was changed and is now as the commit has it again: "
            f"{escaped(named(changed))}{where}"
        )
