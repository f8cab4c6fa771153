"""The fields of a config that the first Job Orchestration knew do what they did."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Cli = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow

TASKS = """
    import logging

    from job_orchestration.TaskBase import TaskBase


    class Seen(TaskBase):
        def __init__(self, config):
            self.config = config

        def validate(self):
            folder = self.config["outputDir"]
            return [] if folder.startswith("/") and "{" not in folder else [f"outputDir is {folder}"]

        def run(self):
            logging.info("as it was said")
            return self.config
"""


def test_every_key_reaches_each_task_and_the_record_has_what_it_had(
    cli: Cli, drop: Callable[..., Path], repository: Callable[..., Path], workspace: Path
) -> None:
    values = {
        "githubRepository": "https://example.org/somebody/project.git",
        "pathToTasks": str(repository(TASKS)),
        "outputDir": "{date}/x_{time}",
        "anything": {"else": [1, 2]},
        "x": 10,
        "tasks": [{"id": "one", "method": "Seen"}, {"id": "two", "method": "Seen", "x": 20}],
    }
    drop("a", values)
    cli("-action", "readyConfigs")
    cli("-action", "NEWWORKER", "--until-idle")
    shown = json.loads(cli("show", "a", "--json").stdout)
    one, two = (task["result"] for task in shown["tasks"])
    assert (one["x"], two["x"]) == (10, 20)
    assert one["anything"] == two["anything"] == {"else": [1, 2]}
    folder = workspace / "Output" / shown["run"]
    assert one["outputDir"] == str(folder)
    assert re.fullmatch(r"\d{4}_\d\d_\d\d/x_\d\d_\d\d_\d\d", shown["run"])
    assert shown["provenance"]["github_repository"] == values["githubRepository"]
    assert set(yaml.safe_load((folder / "status.yaml").read_text())) >= {
        *("status", "start_time", "end_time", "last_updated"),
        *("orchestration_version", "current_test_sha", "current_job", "error_count"),
    }
    log = (folder / "log.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[INFO \]  as it was said$", log, re.MULTILINE)


def test_an_old_output_is_overwritten_only_if_the_config_says_so_and_can_be_restored(
    cli: Cli, drop: Callable[..., Path], workspace: Path
) -> None:
    drop("a", {"outputDir": "same", "x": 1})
    cli("ready")
    cli("work", "--until-idle")
    drop("a", {"outputDir": "same", "x": 2})
    assert "already exists" in cli("ready", check=3).stdout
    drop("a", {"outputDir": "same", "x": 2, "overwriteOutputFine": True})
    cli("ready")
    assert "same" in cli("restore").stdout, "the old output is in the trash"
    cli("work", "--until-idle")
    (task,) = json.loads(cli("show", "same", "--json").stdout)["tasks"]
    assert task["result"] == {"x": 2}
