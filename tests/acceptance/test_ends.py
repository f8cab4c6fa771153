"""How runs end, as a person and a program see it: completed, failed, cancelled and pruned are four ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
    from job_orchestration import PrunedError, TaskBase


    class Quick(TaskBase):
        def run(self):
            return {"x": 1}


    class Fails(TaskBase):
        def run(self):
            raise ValueError("as the test asked")


    class Pruned(TaskBase):
        def run(self):
            raise PrunedError("too far behind the others")
"""


@pytest.mark.slow
def test_pruned_is_an_end_of_its_own(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], workspace: Path, tmp_path: Path
) -> None:
    (workspace / "workspace.yaml").write_text(
        f"notify: [{{command: 'tee -a {tmp_path}/message', on: gave_up}}]\n"
    )
    content: dict[str, object] = {"pathToTasks": str(repository(TASKS)), "maxAttempts": 1}
    drop("stopped", content)
    cli("ready")
    cli("cancel", "stopped")
    drop("behind", content, tasks=["Pruned"])
    cli("ready")
    said = cli("work", "--until-idle").stdout
    assert "runs/behind: too far behind the others\n" in said, "a pruned run makes no worker end with 1"
    drop("broken", content, tasks=["Fails"])
    drop("fine", content)
    cli("ready")
    cli("work", "--until-idle", check=1)

    found = json.loads(cli("status", "--json").stdout)
    assert found["counts"]["failed"] == 3, "they lie in the same folder"
    assert found["ends"] == {"completed": 1, "failed": 1, "pruned": 1, "cancelled": 1}
    ends = {run["config"]: (run["place"], run["outcome"]) for run in found["runs"]}
    assert ends["behind"] == ("failed", "pruned")
    assert ends["stopped"] == ("failed", "cancelled")
    lines = cli("status").stdout.splitlines()
    assert lines[-1].endswith("1 completed, 1 failed, 1 pruned, 1 cancelled")
    places = {line.split()[1]: line.split()[0] for line in lines if "runs/" in line}
    assert places == {
        "runs/broken": "failed",
        "runs/behind": "pruned",
        "runs/stopped": "cancelled",
        "runs/fine": "completed",
    }
    assert "place     pruned\n" in cli("show", "behind").stdout
    rows = cli("results").stdout.splitlines()
    assert rows[0].split()[:3] == ["run", "place", "outcome"]
    assert "pruned" in next(row for row in rows if row.startswith("runs/behind"))

    def chosen(status: str) -> str:
        return cli("results", "--status", status, "--columns", "run", "--csv").stdout.split("\n", 1)[1]

    assert chosen("pruned") == "runs/behind\n"
    assert chosen("failed") == "runs/broken\n"
    assert json.loads((tmp_path / "message").read_text())["run"] == "runs/broken", "and no other message"

    done = cli("retry")
    assert done.stdout.startswith("runs/broken: waits")
    assert "Cancelled or pruned runs: 2. Retry them with: --status cancelled,pruned" in done.stderr
    assert "runs/behind: waits" in cli("retry", "--status", "pruned").stdout
