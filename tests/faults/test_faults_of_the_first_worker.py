"""Faults of the first Job Orchestration's workers, each of which a test here would catch."""

import json
import os
import resource
import signal
from contextlib import suppress

import psutil
import pytest

from tests.conftest import LIMIT, TASKS, wait_until
from tests.faults.workspace_files import events, names

pytestmark = pytest.mark.slow

NOTES = """
    import os
    from job_orchestration import TaskBase


    class Note(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            line = f"{self.config['name']} {self.config['id']}\\n"
            descriptor = os.open(self.config["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, line.encode())
            os.close(descriptor)
"""


def ended(process):
    """What a started command printed and how it ended, once it has."""
    printed, _ = process.communicate(timeout=LIMIT)
    assert "Traceback" not in printed, printed
    return process.returncode, printed


def cpu_of(pid):
    """CPU seconds that a process and what descends from it have used."""
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


@pytest.mark.seed_fault("B-JO-01")
def test_workers_that_race_for_the_same_runs_all_survive(workspace, repository, drop, cli, start, tmp_path):
    folder, notes = str(repository(NOTES)), tmp_path / "notes"
    tasks = [{"id": i, "method": "Note"} for i in ("one", "two", "three")]
    wanted = [f"r{n}" for n in range(40)]
    for name in wanted:
        drop(name, {"name": name, "notes": str(notes), "pathToTasks": folder, "tasks": tasks})
    cli("ready")
    workers = [start("work", "--until-idle") for _ in range(4)]
    assert [ended(worker)[0] for worker in workers] == [0, 0, 0, 0]
    assert names(workspace, "Completed") == sorted(wanted)
    executed = sorted(notes.read_text().splitlines())
    assert executed == sorted(f"{name} {task['id']}" for name in wanted for task in tasks)


@pytest.mark.seed_fault("B-JO-03")
def test_a_half_written_config_harms_no_worker(workspace, drop, cli):
    drop("fine")
    cli("ready")
    whole = (workspace / "ConfigsToRun" / "fine.yaml").read_bytes()
    bad = {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "binary": b"\0\xff",
        "word": b"word",
        "own": b"tasks: []\n",
    }
    for name, data in bad.items():
        (workspace / "ConfigsToRun" / f"{name}.yaml").write_bytes(data)
    os.utime(workspace / "ConfigsToRun" / "empty.yaml", (1, 1))  # the oldest comes first
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["fine"]
    for name, data in bad.items():
        assert (workspace / "ConfigsToRun" / f"{name}.yaml").read_bytes() == data
        printed = (workspace / "ConfigsToRun" / f"{name}.yaml.problems.txt").read_text()
        assert "ConfigSources" in printed, "it says what to do"


@pytest.mark.seed_fault("B-JO-04")
def test_a_torn_status_file_is_no_poison(workspace, drop, cli):
    torn = {"a": "", "b": "stat", "c": "status: FAILED\ncurrent_job: nothing\n", "d": "a: [", "e": "\0"}
    for name in torn:
        drop(name)
    cli("ready")
    for name, text in torn.items():
        (workspace / "Output" / "runs" / name / "status.yaml").write_text(text)
    found = json.loads(cli("status", "--json").stdout)["runs"]
    assert [entry["status"] for entry in found] == ["READY"] * 5
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == sorted(torn)
    for name in torn:
        view = (workspace / "Output" / "runs" / name / "status.yaml").read_text()
        assert "COMPLETE" in view, "the view is made anew from the journal"


@pytest.mark.seed_fault("B-JO-05")
def test_torn_bookkeeping_stops_no_command(workspace, drop, cli):
    drop("a")
    misc = workspace / "Misc"
    for name in (
        "workers.yaml",
        "pred_run_times.yaml",
        "lock.file",
        "workers/lab.1.abc.json",
        "workers/x",
        "cache.json",
    ):
        (misc / name).write_text("{ torn")
    (misc / "opening" / "other.json").write_text("[{")
    cli("ready")
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["a"]
    assert json.loads(cli("status", "--json").stdout)["counts"]["completed"] == 1
    cli("show", "a")
    cli("-action", "progressReport")


@pytest.mark.seed_fault("B-JO-06")
def test_a_killed_worker_is_no_failed_try(workspace, drop, cli, start, tmp_path):
    gate = tmp_path / "gate"
    drop("a", {"gate": str(gate), "maxAttempts": 1}, tasks=["Quick", "Waits"])
    cli("ready")
    for attempt in (1, 2, 3):
        worker = start("work", env={"PYTHONOPTIMIZE": "1"})
        wait_until(
            lambda n=attempt: (
                sum(e.get("task") == "waits" for e in events(workspace, "runs/a", "task_started")) == n
            )
        )
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=LIMIT)
    gate.touch()
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["a"]
    assert events(workspace, "runs/a", "task_failed") == []
    assert [e["attempt"] for e in events(workspace, "runs/a", "claimed")] == [1, 2, 3, 4]
    assert len([e for e in events(workspace, "runs/a", "task_started") if e["task"] == "quick"]) == 1


@pytest.mark.seed_fault("B-JO-07")
def test_dead_workers_are_not_counted_and_a_report_ends(workspace, drop, cli, start, tmp_path):
    drop("a", {"gate": str(tmp_path / "gate")}, tasks=["Waits"])
    cli("ready")
    worker = start("work")
    wait_until(lambda: events(workspace, "runs/a", "task_started"))
    wait_until(lambda: json.loads(cli("status", "--json").stdout)["counts"]["running"] == 1)
    worker.send_signal(signal.SIGKILL)
    worker.wait(timeout=LIMIT)

    def printed():
        return json.loads(cli("status", "--json", limit=30).stdout)

    found = wait_until(lambda: (now := printed())["counts"]["interrupted"] == 1 and now)
    assert found["counts"]["running"] == 0
    assert found["runs"][0]["held_by"] is None
    cli("-action", "progressReport", limit=30)


@pytest.mark.seed_fault("B-JO-08")
def test_a_worker_that_has_nothing_to_do_rests(workspace, drop, cli, start, tmp_path):
    gate = tmp_path / "gate"
    drop("a", {"gate": str(gate)}, tasks=["Waits"])
    cli("ready")
    holder = start("work", "--until-idle")
    wait_until(lambda: events(workspace, "runs/a", "task_started"))
    idle = start("work", "--until-idle")
    heartbeats = workspace / "Misc" / "workers"
    wait_until(
        lambda: any(f".{idle.pid}." in name for name in os.listdir(heartbeats)), what="the idle worker's beat"
    )
    before, heartbeat = cpu_of(idle.pid), next(p for p in heartbeats.iterdir() if f".{idle.pid}." in p.name)
    first = heartbeat.stat().st_mtime
    wait_until(lambda: heartbeat.stat().st_mtime - first >= 4, what="two more beats")
    spent = cpu_of(idle.pid) - before
    gate.touch()
    assert ended(holder)[0] == 0
    code, printed = ended(idle)
    assert code == 0
    assert len(printed.splitlines()) < 20
    assert spent < 0.4, f"{spent:.2f} s of CPU in four seconds of doing nothing"


@pytest.mark.seed_fault("B-JO-09")
def test_a_worker_stays_and_takes_what_comes_later(workspace, drop, cli, start):
    worker = start("work")
    wait_until(lambda: os.listdir(workspace / "Misc" / "workers"))
    for name in ("first", "second"):
        drop(name)
        cli("ready")
        wait_until(lambda n=name: n in names(workspace, "Completed"))
        assert worker.poll() is None


@pytest.mark.seed_fault("B-JO-10")
def test_runs_go_oldest_first_and_one_at_a_time(workspace, repository, drop, cli, tmp_path):
    folder, notes = str(repository(NOTES)), tmp_path / "notes"
    tasks = [{"id": i, "method": "Note"} for i in ("one", "two", "three")]
    order = ["c", "a", "b"]
    for name in order:
        drop(name, {"name": name, "notes": str(notes), "pathToTasks": folder, "tasks": tasks})
        cli("ready")
    cli("work", "--until-idle")
    assert notes.read_text().splitlines() == [f"{name} {task['id']}" for name in order for task in tasks]


@pytest.mark.seed_fault("B-JO-11")
def test_a_task_that_ends_its_process_harms_only_itself(workspace, repository, drop, cli):
    ends = {
        "a_exit": "sys.exit(3)",
        "c_interrupt": "raise KeyboardInterrupt",
        "d_os_exit": "os._exit(0)",
        "e_abort": "os.abort()",
        "f_base": "raise BaseException('no')",
        "g_killed": "os.kill(os.getpid(), 9)",
    }
    source = TASKS.replace("\n    ", "\n") + "\n\nimport os, sys\n"
    for name, end in ends.items():
        source += f"\n\nclass {name}(Base):\n    def run(self):\n        {end}\n"
    folder = str(repository(source))
    for name in ends:
        drop(name, {"pathToTasks": folder, "maxAttempts": 2}, tasks=[name])
    drop("z", {"pathToTasks": folder})
    cli("ready")
    cli("work", "--until-idle", check=1)
    assert (names(workspace, "Failed"), names(workspace, "Completed")) == (list(ends), ["z"])
    for name in ends:
        failures = events(workspace, f"runs/{name}", "task_failed")
        assert len(failures) == 2
        assert all(failure["error"] for failure in failures)


@pytest.mark.seed_fault("B-JO-12")
def test_a_task_that_adds_a_log_handler_disturbs_no_other_run(workspace, repository, drop, cli, tmp_path):
    greedy = f"""

class Greedy(Base):
    def run(self):
        import logging
        logging.getLogger().addHandler(logging.FileHandler({str(tmp_path / "own.log")!r}))
        logging.warning("from the greedy one")


class Modest(Base):
    def run(self):
        import logging
        logging.info("from the modest one")
"""
    folder = str(repository(TASKS.replace("\n    ", "\n") + greedy))
    for name, method in (("a", "Greedy"), ("b", "Modest")):
        drop(name, {"pathToTasks": folder}, tasks=[method])
    cli("ready")
    cli("work", "--until-idle")
    assert names(workspace, "Completed") == ["a", "b"]
    logs = {name: (workspace / "Output" / "runs" / name / "log.log").read_text() for name in "ab"}
    assert logs["a"].count("from the greedy one") == logs["b"].count("from the modest one") == 1
    assert "greedy" not in logs["b"]
    assert "modest" not in (tmp_path / "own.log").read_text()


@pytest.mark.seed_fault("B-JO-16")
def test_two_folders_of_tasks_never_meet_in_one_worker(workspace, repository, drop, cli):
    for name in ("one", "two"):
        source = f"""
            import helper
            from job_orchestration import TaskBase

            class Same(TaskBase):
                def __init__(self, config):
                    pass

                def run(self):
                    return ["{name}", helper.WHO]
        """
        folder = repository("", name)
        (folder / "helper.py").write_text(f"WHO = 'helper of {name}'\n")
        (folder / "Tasks.py").write_text("\n".join(line[12:] for line in source.splitlines()))
        for count in ("first", "second"):
            path = folder if name == "one" else os.path.relpath(folder, workspace)
            content = {"pathToTasks": str(path), "UNSAFE_ignoreDirtyCheck": True}
            drop(f"{count}_{name}", content, tasks=["Same"])
    cli("ready")
    cli("work", "--until-idle")
    for run in ("first_one", "first_two", "second_one", "second_two"):
        name = run.partition("_")[2]
        (event,) = events(workspace, f"runs/{run}", "task_finished")
        assert event["result"] == [name, f"helper of {name}"]


@pytest.mark.seed_fault("B-JO-23")
def test_the_cost_of_a_task_does_not_grow_with_their_number(workspace, drop, cli):
    def spent():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    costs = {}
    for count in (1, 100, 800):
        drop(f"r{count}", {"tasks": [{"id": f"t{i}", "method": "Quick"} for i in range(count)]})
        cli("ready")  # one at a time, for each is measured by itself
        before = spent()
        cli("work", "--until-idle")
        costs[count] = spent() - before
        assert len(events(workspace, f"runs/r{count}", "task_finished")) == count
    few, many = (costs[100] - costs[1]) / 99, (costs[800] - costs[1]) / 799
    print(f"CPU of a task: {few * 1000:.2f} ms of 100, {many * 1000:.2f} ms of 800")
    assert many < max(2.5 * few, 0.003), costs


@pytest.mark.seed_fault("B-JO-24")
def test_why_a_run_failed_and_how_long_its_tasks_took_is_shown(workspace, drop, cli, tmp_path):
    drop("a", {"mended": str(tmp_path / "never"), "maxAttempts": 1}, tasks=["Quick", "Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    (entry,) = json.loads(cli("status", "--json").stdout)["runs"]
    assert "ValueError" in entry["error"]
    assert "as the test asked" in entry["error"]
    assert entry["readied_at"] < entry["started_at"] < entry["ended_at"]
    quick, fails = json.loads(cli("show", "a", "--json").stdout)["tasks"]
    assert (quick["status"], fails["status"]) == ("finished", "failed")
    assert quick["duration_s"] >= 0
    assert quick["started_at"] <= quick["ended_at"] <= fails["started_at"]
    assert "as the test asked" in fails["error"]
