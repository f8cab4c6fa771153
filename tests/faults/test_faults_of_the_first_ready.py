"""Faults of the first Job Orchestration's readying, each of which a test here would catch."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import LIMIT, run_git, wait_until
from tests.faults.workspace_files import events, names, tree

ONE = """
    from job_orchestration import TaskBase


    class One(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            return "as it was readied"
"""


@pytest.mark.slow
@pytest.mark.seed_fault("B-JO-02")
def test_readying_while_workers_run_is_safe(workspace, drop, cli, start):
    drop("first")
    workers = [start("work") for _ in range(4)]
    wanted = ["first"]
    for batch in range(4):
        for n in range(15):
            drop(name := f"r{batch}_{n}")
            wanted.append(name)
        cli("ready")
    wait_until(lambda: len(names(workspace, "Completed")) == len(wanted))
    assert all(worker.poll() is None for worker in workers)
    assert names(workspace, "Completed") == sorted(wanted)
    for name in wanted:
        assert len(events(workspace, f"runs/{name}", "task_started")) == 1


@pytest.mark.slow
@pytest.mark.seed_fault("B-JO-02")
def test_a_config_that_is_still_being_written_is_not_taken(workspace, drop, cli, start):
    whole = drop("a").read_text() + "last: line\n"
    path = workspace / "ConfigSources" / "a.yaml"
    with path.open("w") as file:
        file.write(whole[: whole.index("tasks")])
        file.flush()
        ready = start("ready")
        wait_until(lambda: ready.poll() is not None)
        assert names(workspace, "ConfigsToRun") == []
        assert not (workspace / "ConfigSources" / "a.yaml.problems.txt").exists()
        file.write(whole[whole.index("tasks") :])
    cli("ready")
    assert "last: line" in (workspace / "ConfigsToRun" / "a.yaml").read_text()


@pytest.mark.seed_fault("B-JO-13")
@pytest.mark.slow
def test_retrying_keeps_what_a_failed_run_has(workspace, drop, cli, tmp_path):
    mended = tmp_path / "mended"
    drop("a", {"mended": str(mended), "maxAttempts": 1}, tasks=["Quick", "Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    run = workspace / "Output" / "runs" / "a"
    (run / "model.bin").write_text("dear to somebody")
    commit = events(workspace, "runs/a", "readied")[0]["code"]["commit"]
    run_git(tmp_path / "repository", "commit", "--allow-empty", "--quiet", "--message=later")
    mended.touch()
    cli("-action", "rereadyFailed")
    assert names(workspace, "ConfigsToRun") == ["a"]
    assert (run / "model.bin").read_text() == "dear to somebody"
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["a"]
    assert (run / "model.bin").exists()
    assert "as the test asked" in (run / "log.log").read_text(), "the log of the failure is still there"
    assert len([e for e in events(workspace, "runs/a", "task_started") if e["task"] == "quick"]) == 1
    today = run_git(tmp_path / "repository", "rev-parse", "HEAD")
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["commit"] == today != commit


@pytest.mark.seed_fault("B-JO-14")
def test_no_output_folder_leads_out_of_output(workspace, drop, cli, tmp_path):
    old = workspace / "Output" / "old"
    old.mkdir()
    (old / "precious").write_text("years of work")
    (workspace / "Output" / "way").symlink_to(tmp_path)
    before, places = tree(workspace / "Output"), set(os.listdir(workspace))
    wrong = [
        "",
        ".",
        "..",
        "../..",
        "a/../..",
        "/",
        "/tmp",
        "a/./b",
        "~",
        "../Output/old",
        "way/out",
        str(old),
    ]
    for n, folder in enumerate(wrong):
        drop(f"r{n}", {"outputDir": folder, "overwriteOutputFine": True})
    done = cli("ready", check=3)
    for n, folder in enumerate(wrong):
        reported = [x for x in (done.stdout + done.stderr).splitlines() if x.startswith(f"r{n}.yaml:")]
        assert any("outputDir" in line for line in reported), (folder, reported)
    assert names(workspace, "ConfigsToRun") == []
    assert tree(workspace / "Output") == before
    assert set(os.listdir(workspace)) == places


@pytest.mark.seed_fault("B-JO-15")
@pytest.mark.slow
def test_no_yaml_anywhere_runs_code(workspace, drop, cli, tmp_path):
    drop("a")
    cli("ready")
    code = f"x: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n"
    places = ["ConfigSources", "ConfigsToRun", "Completed", "Failed", "Output/runs/a", "Output/old", "Misc"]
    for place in places:
        (workspace / place).mkdir(exist_ok=True)
        for name in ("bad.yaml", "status.yaml", "results.yaml", "pred_run_times.yaml", "workers.yaml"):
            (workspace / place / name).write_text(code)
    cli("check", check=3)
    cli("ready", check=3)
    cli("work", "--until-idle")
    cli("status", "--json")
    cli("show", "a", "--json")
    cli("-action", "rereadyFailed", check=None)
    (workspace / "workspace.yaml").write_text(code)
    cli("ready", check=None)
    assert not (tmp_path / "made").exists()
    assert "a" in names(workspace, "Completed")


@pytest.mark.seed_fault("B-JO-17")
def test_validate_and_run_see_the_same_output_folder(workspace, repository, drop, cli):
    folder = repository("""
        import os
        from job_orchestration import TaskBase

        class Tells(TaskBase):
            def __init__(self, config):
                self.config = config

            def validate(self):
                return [f"I got {self.config['outputDir']}."] if self.config.get("tell") else []

            def run(self):
                return [self.config["outputDir"], os.path.isdir(self.config["outputDir"])]
    """)
    content = {"pathToTasks": str(folder), "outputDir": "{name}/x_1"}
    drop("shown", {**content, "tell": True}, tasks=["Tells"])
    drop("a", content, tasks=["Tells"])
    done = cli("ready", check=3)
    assert f"I got {workspace}/Output/shown/x_1" in done.stdout + done.stderr
    cli("work", "--until-idle")
    (event,) = events(workspace, "a/x_1", "task_finished")
    assert event["result"] == [f"{workspace}/Output/a/x_1", True]


@pytest.mark.seed_fault("B-JO-18")
@pytest.mark.slow
def test_a_relative_workspace_with_braces_keeps_all_in_one_place(tmp_path, environment, repository):
    folder = repository(ONE)
    (tmp_path / "here").mkdir()

    def run(*arguments):
        command = [sys.executable, "-m", "job_orchestration", "--workspace", "w{date}{x}", *arguments]
        subprocess.run(command, cwd=tmp_path / "here", env=environment, check=True, timeout=LIMIT)

    run("init")
    root = tmp_path / "here" / "w{date}{x}"
    config = {"pathToTasks": str(folder), "outputDir": "a", "tasks": [{"id": "one", "method": "One"}]}
    (root / "ConfigSources" / "a.yaml").write_text(json.dumps(config))
    run("ready")
    run("work", "--until-idle")
    assert names(root, "Completed") == ["a"]
    assert os.listdir(tmp_path / "here") == ["w{date}{x}"]
    assert os.listdir(root / "Output") == ["a"]
    assert {"config.yaml", "status.yaml", "log.log"} <= set(os.listdir(root / "Output" / "a"))


BAD = {
    "no_tasks": ("pathToTasks: CODE\noutputDir: {name}\n", "tasks"),
    "no_path": ("outputDir: {name}\ntasks: [{{id: a, method: Quick}}]\n", "pathToTasks"),
    "no_output": ("pathToTasks: CODE\ntasks: [{{id: a, method: Quick}}]\n", "outputDir"),
    "no_id": ("pathToTasks: CODE\noutputDir: {name}\ntasks: [{{method: Quick}}]\n", "id"),
    "no_method": ("pathToTasks: CODE\noutputDir: {name}\ntasks: [{{id: a}}]\n", "method"),
    "unknown": ("pathToTasks: CODE\noutputDir: {name}\ntasks: [{{id: a, method: Nothing}}]\n", "Nothing"),
    "no_git": ("pathToTasks: /usr\noutputDir: {name}\ntasks: [{{id: a, method: Quick}}]\n", "git"),
    "duplicate": (
        "pathToTasks: CODE\noutputDir: {name}\ntasks: [{{id: a, method: Quick}}, {{id: a, method: Quick}}]\n",
        "id",
    ),
    "empty": ("", "empty"),
    "text": ("hello\n", "text"),
    "broken": ("tasks: [\n", "broken.yaml:"),
    "picky": (
        "pathToTasks: CODE\noutputDir: {name}\nx: 0\ntasks: [{{id: a, method: Picky}}]\n",
        "x must be positive",
    ),
}


@pytest.mark.seed_fault("B-JO-19")
def test_bad_configs_never_stop_the_good_ones(workspace, repository, drop, cli):
    code = str(repository())
    for name, (text, _) in BAD.items():
        drop(name, text.format(name=name).replace("CODE", code))
    good = ["a_first", "m_middle", "z_last"]
    for name in good:
        drop(name, {"pathToTasks": code})
    (workspace / "ConfigSources" / ".DS_Store").write_bytes(b"\0\1")
    (workspace / "ConfigSources" / "notes.txt").write_text("to whom it may concern")
    (workspace / "ConfigSources" / "folder").mkdir()
    done = cli("ready", check=3)
    assert names(workspace, "ConfigsToRun") == good
    printed = (done.stdout + done.stderr).splitlines()
    for name, (_, hint) in BAD.items():
        reported = [line for line in printed if line.startswith(f"{name}.yaml")]
        assert any(hint in line for line in reported), (name, reported)
        assert (workspace / "ConfigSources" / f"{name}.yaml").exists()
        beside = (workspace / "ConfigSources" / f"{name}.yaml.problems.txt").read_text()
        assert hint in beside


@pytest.mark.seed_fault("B-JO-20")
def test_duplicate_task_ids_are_refused_with_their_line(workspace, repository, drop, cli):
    code = repository()
    task = "- id: same\n  method: Quick\n"
    drop("a", f"pathToTasks: {code}\noutputDir: a\ntasks:\n{task}{task}")
    done = cli("ready", check=3)
    (line,) = [x for x in (done.stdout + done.stderr).splitlines() if x.startswith("a.yaml:6:")]
    assert "same" in line
    assert names(workspace, "ConfigsToRun") == []


@pytest.mark.slow
@pytest.mark.seed_fault("B-JO-21")
def test_the_same_name_dropped_again_replaces_nothing(workspace, drop, cli):
    for n in (1, 2):
        drop("a", {"outputDir": f"o{n}", "x": n})
        cli("ready")
    assert names(workspace, "ConfigsToRun") == ["a", "a-2"]
    cli("work", "--until-idle")
    drop("a", {"outputDir": "o3", "x": 3})
    cli("ready")
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["a", "a-2", "a-3"]
    for n in (1, 2, 3):
        (event,) = events(workspace, f"o{n}", "task_finished")
        assert event["result"] == {"x": n}


@pytest.mark.parametrize("optimized", ["", "1"])
@pytest.mark.seed_fault("B-JO-22")
def test_what_was_readied_is_what_runs(workspace, repository, drop, cli, tmp_path, optimized):
    env = {"PYTHONOPTIMIZE": optimized}
    folder = repository(ONE)
    config = {"pathToTasks": str(folder), "outputDir": "a"}
    (folder / "helper.py").write_text("")
    drop("a", config, tasks=["One"])
    done = cli("ready", check=3, env=env)
    assert "helper.py" in done.stdout + done.stderr, "an untracked file is a change too"
    assert "You have uncommitted changes" in done.stdout + done.stderr
    (folder / "helper.py").unlink()
    cli("ready", env=env)
    commit = run_git(folder, "rev-parse", "HEAD")
    source = (folder / "Tasks.py").read_text()
    (folder / "Tasks.py").write_text(source.replace("as it was readied", "edited"))
    run_git(folder, "commit", "--quiet", "--all", "--amend", "--message=edited")
    run_git(folder, "reflog", "expire", "--expire=now", "--all")
    run_git(folder, "gc", "--quiet", "--prune=now")
    shutil.rmtree(folder)
    cli("work", "--until-idle", env=env)
    (event,) = events(workspace, "a", "task_finished")
    assert event["result"] == "as it was readied"
    assert json.loads(cli("status", "--json").stdout)["runs"][0]["commit"] == commit
