"""The files of the demo run as they lie there: copied into a repository and a workspace."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


def test_the_files_of_the_demo_run_when_they_are_copied(
    cli: Callable[..., subprocess.CompletedProcess[str]], workspace: Path, repository: Callable[..., Path]
) -> None:
    code = repository((ROOT / "demo" / "Tasks.py").read_text())
    (workspace / "workspace.yaml").write_text(f"pathToTasks: {code}\n")
    for name in ("pi.yaml", "sweep.yaml"):
        shutil.copy(ROOT / "demo" / name, workspace / "ConfigSources")
    cli("ready")
    cli("work", "--until-idle")
    runs = json.loads(cli("results", "--json").stdout)
    assert len(runs) == 1 + 6
    assert all(3 < run["estimate.pi"] < 3.3 for run in runs)
