"""Sweeps and searches as a whole: a line of `status` each, and `show` by their name or folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import TaskBase


    class Train(TaskBase):
        def run(self):
            lr = self.config["lr"]
            if lr == 4:
                raise ValueError("lr is too large")
            while lr == 2 and not Path(self.config["gate"]).exists():
                time.sleep(0.02)
            return {"accuracy": lr / 10}
"""


def families(cli):
    return {family["name"]: family for family in json.loads(cli("status", "--json").stdout)["families"]}


@pytest.mark.slow
def test_a_sweep_and_a_search_have_a_line_in_status_and_a_page_in_show(
    cli, drop, repository, start, eventually, tmp_path: Path
):
    gate = tmp_path / "gate"
    config = {"pathToTasks": str(repository(TASKS)), "gate": str(gate), "maxAttempts": 1}
    config["tasks"] = [{"id": "train", "method": "Train"}]
    space = {"lr": [3, 1, 2, 4, 1.5]}
    search = {"method": "grid", "metric": "train.accuracy", "parallel": 1, "space": space}
    drop("grid", {**config, "outputDir": "today/grid", "sweep": {"grid": {"lr": [1, 2, 3, 4]}}})
    drop("tune", {**config, "outputDir": "tune", "sweep": {"search": search}})
    drop("alone", {**config, "outputDir": "alone", "lr": 1})
    cli("ready")
    worker = start("work", "--workers", "2", "--until-idle")

    def in_the_middle():
        found = families(cli)
        ended = [found[name]["ended"] for name in ("grid", "tune")]
        return ended == [3, 2] and found["tune"]["opened"] == 3 and found

    found = eventually(in_the_middle, what="only the trials that wait at the gate are left")
    assert sorted(found) == ["grid", "tune"], "a run of its own is no family"
    assert found["grid"]["kind"] == "sweep"
    assert found["grid"]["ends"] == {"completed": 2, "failed": 1, "pruned": 0, "cancelled": 0}
    assert (found["grid"]["trials"], found["grid"]["opened"], found["grid"]["best"]) == (4, 4, None)
    assert (found["tune"]["trials"], found["tune"]["opened"], found["tune"]["ended"]) == (5, 3, 2)
    best = {"run": "tune/0001,lr=3", "value": 0.3, "parameters": {"lr": 3}}
    assert found["tune"]["best"] == best
    assert found["tune"]["eta_s"] > 0

    lines = cli("status").stdout.splitlines()
    assert [
        line
        for line in lines
        if line.startswith("sweep grid in today/grid: 3 of 4 trials have ended (1 failed); ")
    ]
    (line,) = [line for line in lines if line.startswith("search tune: ")]
    assert line.startswith("search tune: 2 of 5 trials have ended; best 0.3 in 0001,lr=3; ")
    assert line.endswith(" left")
    assert "search tune" not in cli("status", "today/*").stdout
    assert "sweep grid" not in cli("status", "tune/*").stdout

    assert json.loads(cli("show", "tune", "--json").stdout)["best"] == best
    for name in ("grid", "grid.yaml", "today/grid", "Output/today/grid/"):
        said = [" ".join(line.split()) for line in cli("show", name).stdout.splitlines()]
        assert "trials 3 of 4 have ended (1 failed)" in said
        assert "others 1 running" in said
        assert "lr=4 ValueError: lr is too large" in said
        assert "All trials: job-orchestration results 'today/grid/*'" in said
    shown = json.loads(cli("show", "today/grid/lr=1", "--json").stdout)
    assert shown["run"] == "today/grid/lr=1", "a trial is shown as a run"

    gate.write_text("")
    worker.communicate(timeout=60)
    assert families(cli) == {}
    said = [" ".join(line.split()) for line in cli("show", "tune").stdout.splitlines()]
    assert "trials 5 of 5 have ended (1 failed)" in said
    assert "best 0.3 in tune/0001,lr=3" in said
    at = said.index("value lr trial")
    assert [line.split()[0] for line in said[at + 1 : at + 5]] == ["0.3", "0.2", "0.15", "0.1"]
    assert "0004,lr=4 ValueError: lr is too large" in said
    assert "There is no run tuna. Did you mean" in cli("show", "tuna", check=2).stderr
