"""Messages that say what to do next."""

from __future__ import annotations

import json
import re

import pytest


def test_a_mistyped_option_is_answered_with_the_one_that_may_be_meant(cli):
    assert cli("status", "--jsno", check=2).stderr.endswith(
        "unrecognized arguments: --jsno. Did you mean --json?\n"
    )
    assert "--until-idle?" in cli("work", "--untilidle=1", check=2).stderr
    assert "Show its arguments with" in cli("up", "-z", "2", check=2).stderr


def test_an_empty_workspace_says_what_to_do_and_one_with_a_config_does_not(cli, drop):
    said = cli("status").stdout
    assert said == "There is no config yet. Drop one into ConfigSources, then run: job-orchestration up\n"
    drop("a", "a: 1\n")
    assert cli("status").stdout.endswith("\n1 source\n")
    cli("ready", check=3)
    drop("b", "b: 1\n")
    drop("c", "c: 1\n")
    assert cli("status").stdout.endswith("\n2 sources, 1 refused\n")
    assert json.loads(cli("status", "--json").stdout)["refused"] == 1


def test_colour_is_asked_for_or_refused(cli, drop):
    drop("a", "a: 1\n")
    plain = cli("status").stdout
    assert "\x1b[" not in plain
    assert "\x1b[1m" in cli("status", "--color", "always").stdout
    assert "\x1b[1m" in cli("status", "--color=always", env={"NO_COLOR": "1"}).stdout
    assert cli("status", "--color", "never", env={"FORCE_COLOR": "1"}).stdout == plain
    assert "invalid choice" in cli("status", "--color", "red", check=2).stderr


@pytest.mark.slow
def test_the_error_of_a_refused_config_is_shown_and_not_a_warning_before_it(cli, drop):
    drop("bad", {"flag": "x", "maxAttemts": 2}, tasks=["Quikc"])
    cli("ready", check=3)
    shown = cli("status").stdout
    assert "no class Quikc" in shown
    assert "maxAttemts" not in shown


@pytest.mark.slow
def test_what_is_shown_of_a_completed_run_and_what_can_be_done_with_it(cli, drop):
    drop("a", {"x": 0.5})
    cli("ready")
    cli("work", "--until-idle")
    done = cli("retry", "a", check=3)
    assert "To run it once more: job-orchestration rerun runs/a" in done.stdout
    done = cli("results", "--best", "accuracy", check=2)
    assert "No run here has accuracy. There is " in done.stderr
    assert "x" in done.stderr
    assert "elapsed_s" not in done.stderr
    shown = cli("show", "a", env={"TZ": "UTC-2"}).stdout
    (zoned,) = re.findall(r"^readied +(\d+-\d+-\d+ \d+:\d+:\d+) \+0200$", shown, re.MULTILINE)
    assert re.search(r"^ended +\d+-\d+-\d+ \d+:\d+:\d+$", shown, re.MULTILINE)
    assert zoned[:2] == "20"
    assert "\x1b[" in cli("status", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in cli("status", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b[" not in cli("status").stdout
    cli("gc", "--empty-trash", "--older-than", "0")
    cli("gc", "--empty-trash", "--older-than", "0d")
    cli("work", "--for", "0s", check=2)


def test_an_unknown_method_of_a_search_is_one_problem(cli, drop):
    search = {"method": "bayes", "metric": "quick.x", "space": {"lr": {"uniform": [0, 1]}}}
    drop("s", {"sweep": {"search": search}})
    errors = [
        line for line in cli("check", check=3).stdout.splitlines() if "search" in line or "grid" in line
    ]
    assert len(errors) == 1
    assert "bayes" in errors[0]


@pytest.mark.slow
def test_a_run_that_is_tried_again_does_not_show_the_error_of_its_last_try(
    cli, drop, start, tmp_path, repository, eventually
):
    tasks = """
        import time
        from pathlib import Path

        from job_orchestration import TaskBase


        class Second(TaskBase):
            def run(self):
                first = Path(self.config["first"])
                if not first.exists():
                    first.touch()
                    raise ValueError("only the first time")
                while not Path(self.config["gate"]).exists():
                    time.sleep(0.02)
    """
    values = {
        "pathToTasks": str(repository(tasks)),
        "first": str(tmp_path / "first"),
        "gate": str(tmp_path / "gate"),
    }
    drop("a", values, tasks=["Second"])
    cli("ready")
    worker = start("work", "--until-idle")
    eventually(
        lambda: "running" in (shown := cli("status").stdout) and "try 2" in cli("show", "a").stdout + shown
    )
    assert "only the first time" not in cli("status").stdout
    (tmp_path / "gate").touch()
    assert worker.wait(120) == 0
