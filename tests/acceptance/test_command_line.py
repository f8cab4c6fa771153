"""The command line as its users meet it: words in, an exit code and sentences out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import command_table, flags, main
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    Cli = Callable[..., subprocess.CompletedProcess[str]]

SPELLINGS = [
    ["status"],
    ["STATUS"],
    ["-action", "status"],
    ["-action=Status"],
    ["--action", "STATUS"],
    ["-action", "progressreport"],
]


@pytest.mark.parametrize("words", SPELLINGS, ids=" ".join)
def test_every_spelling_of_a_command_does_the_same(cli: Cli, words: list[str]) -> None:
    counts = json.loads(cli(*words, "--json").stdout)["counts"]
    assert counts == dict.fromkeys(
        ("sources", "to_run", "held", "running", "interrupted", "completed", "failed"), 0
    )


def test_a_warning_of_a_task_is_shown_at_its_key_and_the_config_is_queued(cli: Cli, drop, repository) -> None:
    tasks = """
        from job_orchestration import TaskBase

        class Warns(TaskBase):
            def __init__(self, config):
                self.config = config

            def validate(self):
                return [UserWarning("lr: this is large"), UserWarning("Look out")]

            def run(self):
                return None

        class Refuses(Warns):
            def validate(self):
                return ["lr: this is too large", UserWarning("lr: this is large")]
    """
    folder = str(repository(tasks))
    for name in ("Warns", "Refuses"):
        entry = f"tasks:\n- {{id: t, method: {name}}}"
        drop(name.lower(), f"pathToTasks: {folder}\noutputDir: x/{name}\nlr: 7\n{entry}\n")
    lines = cli("ready", check=3).stdout.splitlines()
    assert "warns.yaml:3:5: warning: lr: t: this is large." in lines
    assert "warns.yaml:5:3: warning: tasks[0]: t: Look out." in lines
    assert any(line.startswith("warns.yaml: queued as x/Warns") for line in lines)
    assert "refuses.yaml:3:5: lr: t: this is too large." in lines
    assert "refuses.yaml:3:5: warning: lr: t: this is large." in lines
    assert json.loads(cli("status", "--json").stdout)["counts"]["to_run"] == 1


@pytest.mark.parametrize("name", ["newWorker", "RUNWORKER", "runworker"])
@pytest.mark.seed_fault("B-JO-31")
def test_the_worker_starts_under_each_of_its_old_names(cli: Cli, name: str) -> None:
    cli("-action", name, "--until-idle")


@pytest.mark.seed_fault("B-JO-30")
def test_without_a_command_the_folders_are_made_without_a_question(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "new"
    said = cli(env={"JOB_ORCHESTRATION_WORKSPACE": str(root)}).stdout
    folders = {"ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed", "Output", "Misc"}
    assert folders <= set(os.listdir(root))
    assert "ConfigSources" in said
    assert "up --workers 2" in said
    assert "everything is there" in cli("na", "--workspace", str(root)).stdout


def test_init_keeps_the_folders_of_the_first_job_orchestration(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "old" / "ConfigsCompleted").mkdir(parents=True)
    cli("init", "-workspace", str(tmp_path / "old"))
    assert "Completed" not in os.listdir(tmp_path / "old")


@pytest.mark.seed_fault("B-JO-30")
def test_no_workspace_is_one_clear_sentence(cli: Cli) -> None:
    for words in (["status"], ["-action", "newWorker"], ["init"]):
        done = cli(*words, check=4, env={"JOB_ORCHESTRATION_WORKSPACE": ""})
        assert "--workspace DIR" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("folder", ["", "Output", "Output/a/b"])
def test_the_workspace_around_the_current_folder_is_used(
    cli: Cli, workspace: Path, environment: dict[str, str], tmp_path: Path, folder: str
) -> None:
    (workspace / "ConfigSources" / "a.yaml").write_text("a: 1\n")
    here = workspace / folder
    here.mkdir(parents=True, exist_ok=True)
    unset = {k: v for k, v in environment.items() if k != "JOB_ORCHESTRATION_WORKSPACE"}
    words = [sys.executable, "-m", "job_orchestration", "status", "--json"]
    done = subprocess.run(words, cwd=here, env=unset, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == cli("status", "--json").stdout
    other = tmp_path / "other"
    cli("init", "--workspace", str(other))
    named = {**unset, "JOB_ORCHESTRATION_WORKSPACE": str(other)}
    done = subprocess.run(words, cwd=here, env=named, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == cli("status", "--json", env=named).stdout, "the variable comes first"


def test_without_a_command_help_is_printed_but_as_a_module_with_a_workspace_its_folders_are_made(
    cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    cli(env={"JOB_ORCHESTRATION_WORKSPACE": str(made)})
    assert (made / "ConfigSources").is_dir()
    other = tmp_path / "other"
    for program in ("jo", "job-orchestration"):
        path = Path(sys.executable).with_name(program)
        env = {**environment, "JOB_ORCHESTRATION_WORKSPACE": str(other)}
        done = subprocess.run([path], env=env, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == cli("--help").stdout == cli("help").stdout
    assert not other.exists()
    assert cli("help", "status").stdout == cli("status", "--help").stdout
    assert cli(env={"JOB_ORCHESTRATION_WORKSPACE": ""}).stdout == cli("--help").stdout


def test_words_of_other_tools_lead_to_the_command(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    for word, command in command_table.SYNONYMS.items():
        assert command_table.find(command)
        assert command_table.find(word) is None
        assert main.main([word]) == 2
        assert f'Unknown command "{word}". Did you mean {command}?' in capsys.readouterr().err
    assert 'Unknown command "ls". Did you mean status?' in cli("ls", check=2).stderr


def test_a_folder_that_is_no_workspace_is_not_made_one_by_accident(cli: Cli, tmp_path: Path) -> None:
    for command in ("status", "ready", "work", "watch", "up"):
        done = cli(command, "--workspace", str(tmp_path / "typo"), check=4)
        assert "is not a workspace" in done.stderr
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], 'Unknown command "frobnicate"'),
        (["statsu"], "Did you mean status?"),
        (["-action"], "names no command"),
        (["status", "--frob"], "unrecognized arguments: --frob"),
        (["-action", "newWorker", "left", "over"], "unrecognized arguments"),
        (["work", "--workers", "0"], "not a number from 1"),
        (["show"], "RUN"),
        (["show", "nothing"], "There is no run nothing"),
        (["logs", "nothing"], "There is no run nothing"),
        (["retry", "nothing"], "There is no run nothing"),
        (["check", "nothing.yaml"], "There is no file nothing.yaml"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_what_does_not_exist_is_a_usage_error_in_one_line(cli: Cli, words: list[str], said: str) -> None:
    done = cli(*words, check=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_a_newer_workspace_is_refused_and_left_alone(cli: Cli, workspace: Path) -> None:
    (workspace / "Misc" / "VERSION").write_text("99\n")
    for command in ("status", "ready", "work"):
        assert "format" in cli(command, check=4).stderr
    assert (workspace / "Misc" / "VERSION").read_text() == "99\n"


def test_every_command_has_a_help_with_an_example(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    for command in command_table.COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            main.main([command.name, "--help"])
        assert f"Example: job-orchestration {command.example}" in capsys.readouterr().out
    assert cli("--version").stdout.startswith("job-orchestration 0.")


def test_the_help_lists_each_command_once_in_a_group_with_what_it_does(cli: Cli) -> None:
    grouped = [name for names in command_table.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(command.name for command in command_table.COMMANDS)
    groups = {
        title: re.findall(r"^  ([\w-]+) +\S", lines, re.MULTILINE)
        for title, lines in re.findall(r"^(\w[\w, ]+):\n((?:  \w.*\n)+)", cli("--help").stdout, re.MULTILINE)
    }
    assert groups == {title: list(names) for title, names in command_table.GROUPS.items()}


def test_what_every_command_prints_as_json_is_documented() -> None:
    said = (ROOT / "docs" / "json.md").read_text()
    documented = {command.name for command in command_table.COMMANDS if flags.JSON in command.arguments}
    assert set(re.findall(r"`(\w+) --json`", said)) == documented


def test_no_two_commands_share_a_name() -> None:
    names = [name.lower() for name in command_table.names()]
    assert len(names) == len(set(names))
    assert all(command_table.find(name.upper()) for name in names)


def test_help_imports_only_what_it_needs(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "job_orchestration", "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    heavy = {"yaml", "watchdog", "rich", "git", "psutil", "dataclasses", "json", "subprocess", "logging"}
    assert not imported & heavy
    standard_streams = "job_orchestration.processes.standard_streams"  # imports nothing but os and sys
    public = ("job_orchestration.cli", "job_orchestration.diagnostics", standard_streams)
    assert not [name for name in imported if name.startswith("job_orchestration.") and name.count(".") == 2
                and not name.startswith(public)]  # fmt: skip


def test_a_reader_that_goes_away_is_no_error(environment: dict[str, str], drop: Callable[..., Path]) -> None:
    for number in range(20):
        drop(f"a{number}", "tasks: []\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "job_orchestration", "status"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


# -- check and ready --------------------------------------------------------------------------------------


def test_check_tells_what_ready_would_say_and_queues_nothing(
    cli: Cli, drop: Callable[..., Path], workspace: Path
) -> None:
    drop("fine", {"x": 1}, tasks=["Picky"])
    drop("bad", {"x": 0}, tasks=["Picky"])
    done = cli("check", check=3)
    assert "fine.yaml: fine, it would become runs/fine" in done.stdout
    assert "bad.yaml:" in done.stdout
    assert "x must be positive" in done.stdout
    assert {p.name for p in (workspace / "ConfigSources").iterdir()} == {"fine.yaml", "bad.yaml"}
    assert not os.listdir(workspace / "ConfigsToRun")


def test_check_looks_at_files_anywhere(cli: Cli, drop: Callable[..., Path], tmp_path: Path) -> None:
    elsewhere = drop("a").rename(tmp_path / "elsewhere.yaml")
    found = json.loads(cli("check", str(elsewhere), "--json").stdout)
    assert [(e["file"], e["run"], e["problems"]) for e in found] == [("elsewhere.yaml", "runs/a", [])]
    assert len(found[0]["commit"]) == 40


@pytest.mark.seed_fault("B-JO-19")
def test_one_bad_config_stops_no_other(cli: Cli, drop: Callable[..., Path], workspace: Path) -> None:
    for number in range(3):
        drop(f"good{number}")
    bad = drop("bad", "outputDir: x\noutputDir: y\ntasks: 5\n")
    done = cli("ready", check=3)
    assert len(os.listdir(workspace / "ConfigsToRun")) == 3
    assert "good1.yaml: queued as runs/good1 (commit " in done.stdout
    assert "bad.yaml:2:1: outputDir: duplicate key" in done.stdout
    problems = bad.with_name("bad.yaml.problems.txt")
    assert "bad.yaml:2:1: outputDir: duplicate key" in problems.read_text()
    assert "bad.yaml:2:1" in cli("status").stdout
    drop("bad")
    report = json.loads(cli("ready", "--json").stdout)
    assert [q["run"] for q in report["queued"]] == ["runs/bad"]
    assert not problems.exists()


def test_nothing_to_do_is_said_and_is_no_error(cli: Cli) -> None:
    assert "nothing to ready" in cli("ready").stdout
    assert "nothing to check" in cli("check").stdout
    assert "No run has failed" in cli("retry").stdout
    assert cli("work", "--until-idle").stdout == ""


# -- a run from the drop to its end -----------------------------------------------------------------------


def test_a_failed_run_is_exit_code_1_of_the_worker_that_had_it(
    cli: Cli, drop: Callable[..., Path], tmp_path: Path
) -> None:
    drop("good")
    drop("bad", {"mended": str(tmp_path / "mended"), "maxAttempts": 1}, tasks=["Quick", "Fails"])
    cli("ready")
    assert "runs/bad: failed" in cli("work", "--until-idle", check=1).stdout
    cli("work", "--until-idle")


@pytest.mark.seed_fault("B-JO-13")
def test_a_retried_run_goes_on_from_its_checkpoint_in_its_own_code(
    cli: Cli,
    drop: Callable[..., Path],
    repository: Callable[..., Path],
    git: Callable[..., str],
    tmp_path: Path,
) -> None:
    code = repository()
    content = {"pathToTasks": str(code), "mended": str(tmp_path / "mended"), "maxAttempts": 2}
    drop("a", content, tasks=["Quick", "Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    before = json.loads(cli("show", "a", "--json").stdout)
    assert before["error"] == "ValueError: as the test asked"
    assert (before["outcome"], before["task"], before["task_index"]) == ("error", "fails", 1)
    log = cli("logs", "a").stdout
    assert "quick as a flash" in log

    (code / "Tasks.py").write_text("nothing = 'left'\n")
    git(code, "commit", "--quiet", "--all", "--message=gone")
    (tmp_path / "mended").touch()
    assert "runs/a: waits" in cli("-action", "rereadyFailed").stdout
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["place"] == "to_run"
    cli("work", "--until-idle")

    after = json.loads(cli("show", "runs/a", "--json").stdout)
    assert (after["place"], after["status"], after["commit"]) == ("completed", "COMPLETE", before["commit"])
    assert after["tasks"][0] == before["tasks"][0]
    assert [t["tries"] for t in after["tasks"]] == [1, 3]
    assert cli("logs", "a").stdout.startswith(log)
    assert "has not failed" in cli("retry", "a", check=3).stdout


@pytest.mark.slow
def test_several_workers_are_one_command(cli: Cli, drop: Callable[..., Path]) -> None:
    for number in range(4):
        drop(f"a{number}")
    cli("ready")
    cli("work", "--workers", "2", "--until-idle")
    assert json.loads(cli("status", "--json").stdout)["counts"]["completed"] == 4
