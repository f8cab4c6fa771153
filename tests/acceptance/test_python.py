"""Everything from Python, as notebooks and programs use it: through public names only."""

from __future__ import annotations

import datetime as dt
import inspect
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import job_orchestration
from job_orchestration import (
    ConfigRefusedError,
    Run,
    RunRefusedError,
    Runs,
    UsageError,
    Workspace,
    WorkspaceError,
)
from job_orchestration.cli import command_table
from tests.conftest import LIMIT

TASKS = """
    import json, pathlib, time

    from job_orchestration import TaskBase


    class Train(TaskBase):
        def validate(self):
            genes = self.config.get("genes")
            if genes is not None and len(pathlib.Path(genes).read_text().split()) < 2:
                return ["there must be two genes at least"]
            return [] if self.config.get("lr", 1) > 0 else ["lr must be positive"]

        def run(self):
            print("training with", self.config["lr"])
            genes = self.config.get("genes")
            self.context.store.save_json("metrics.json", {"loss": self.config["lr"]})
            self.context.store.save_text("table.tsv", "gene\\tscore\\na\\t0.5\\nb\\t0.25\\n")
            self.context.store.save_bytes("weights.bin", b"\\x00\\x01")
            pathlib.Path(self.config["outputDir"], "notes.txt").write_text("plain\\n")
            return {
                "accuracy": 1 - self.config["lr"],
                "genes": genes and pathlib.Path(genes).read_text().split(),
            }


    class Fails(TaskBase):
        def run(self):
            if not pathlib.Path(self.config["mended"]).exists():
                raise ValueError("as the test asked <b>")
            return "mended"


    class Waits(TaskBase):
        def run(self):
            self.context.progress(1, 4)
            while not pathlib.Path(self.config["gate"]).exists():
                time.sleep(0.02)
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A workspace as a program makes it."""
    monkeypatch.delenv("JOB_ORCHESTRATION_WORKSPACE", raising=False)
    return Workspace.create(tmp_path / "lab")


@pytest.fixture
def config(repository):
    """Makes a config of one task."""
    made = []

    def make(method="Train", **more):
        if not made:
            made.append(repository(TASKS))
        task = {"id": method.lower(), "method": method}
        return {"pathToTasks": made[0], "outputDir": "runs/{name}", "tasks": [task], **more}

    return make


def files_of(workspace):
    found = {str(path.relative_to(workspace.path)) for path in workspace.path.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("Misc/bytecode", "Misc/imports", "Misc/code.git"))}


# -- a day ------------------------------------------------------------------------------------------------


def test_a_day_through_python_only(lab, config, tmp_path):
    mended = tmp_path / "mended"
    good = lab.submit(config(lr=0.1), name="day/good", inputs={"genes": ["g1", "g2", "g3"]})
    bad = lab.submit(config("Fails", mended=mended, maxAttempts=1), name="day/bad")
    assert (good.status, bad.status) == ("to_run", "to_run")
    assert isinstance(good, Run)
    assert good.eta is None or good.eta > dt.timedelta(0)
    lines = []
    assert lab.work(say=lines.append) is False, "a run failed"
    assert "day/good: completed" in "\n".join(lines)
    assert (good.status, bad.status, good.error) == ("completed", "failed", None)
    assert bad.error == "ValueError: as the test asked <b>"
    assert good.results["train.accuracy"] == 0.9
    assert good.result_of("train")["genes"] == ["g1", "g2", "g3"]
    assert good.config["genes"] == str(lab.path / "Output/day/good/inputs/genes.txt")
    assert [(t.id, t.status, t.tries) for t in good.tasks] == [("train", "finished", 1)]
    assert "training with 0.1\n" in good.log()
    assert list(good.log(follow=True)) == [good.log()]
    assert "ValueError" in bad.log(errors=True)
    assert good.provenance["run"] == "day/good"
    assert len(good.provenance["commit"]) == 40
    assert good.parameters["lr"] == 0.1
    mended.touch()
    assert bad.retry().status == "to_run"
    assert bad.hold().status == "held"
    assert bad.release().status == "to_run"
    assert lab.work() is True
    assert bad.wait(timeout=60).result_of("fails") == "mended"
    again = good.rerun()
    assert again.name == "day/good-rerun"
    again.cancel()
    assert again.status == "cancelled"
    assert lab.diff(good, "day/bad")["verdict"]
    assert [run.name for run in lab.runs(status="completed")] == ["day/good", "day/bad"]
    assert lab.runs("day/*", filter="lr < 0.2").names[0] == "day/good"
    assert lab.status().counts["completed"] == 2
    assert [item["name"] for item in lab.gc("day/good", yes=True)] == ["day/good"]
    with pytest.raises(UsageError, match="There is no run day/good"):
        _ = good.status
    assert repr(good) == "<Run 'day/good': gone>"
    assert lab.restore("day/good").names == ("day/good",)
    assert good.status == "completed"
    assert (good.code(tmp_path / "code") / "Tasks.py").is_file()
    elsewhere = Workspace.create(tmp_path / "elsewhere")
    assert elsewhere.import_runs(lab.export("day/good", to=tmp_path / "good.zip")).names == ("day/good",)
    assert elsewhere.run("day/good").results == good.results
    assert any(line["topic"] == "git" for line in lab.doctor())


@pytest.mark.slow
def test_the_files_of_a_run_are_loaded_by_their_suffix(lab, config):
    pd = pytest.importorskip("pandas")
    run = lab.submit(config(lr=0.5), name="files", inputs={"genes": "g1 g2"})
    lab.work()
    assert run.files == [
        "config.yaml",
        "inputs/genes.txt",
        "log.log",
        "notes.txt",
        "provenance.json",
        "status.yaml",
        "train/metrics.json",
        "train/table.tsv",
        "train/weights.bin",
    ]
    assert run.load("metrics.json") == run.load("train/metrics.json") == {"loss": 0.5}
    frame = run.load("table.tsv")
    assert isinstance(frame, pd.DataFrame)
    assert frame["score"].tolist() == [0.5, 0.25]
    assert run.load("notes.txt") == "plain\n"
    assert run.load("weights.bin") == b"\0\1"
    assert run.load("config.yaml")["lr"] == 0.5
    with run.open("notes.txt") as file:
        assert file.read() == "plain\n"
    with run.open("weights.bin", "rb") as file:
        assert file.read() == b"\0\1"
    with pytest.raises(UsageError, match="no mode"):
        run.open("notes.txt", "w")
    with pytest.raises(UsageError, match=r"The run has no file metric.json. Did you mean metrics.json"):
        run.load("metric.json")
    with pytest.raises(UsageError, match="no file"):
        run.open("../files/../../workspace.yaml")


def test_a_file_that_could_execute_something_or_leads_out_of_the_run_is_not_opened(lab, config, tmp_path):
    run = lab.submit(config(lr=0.5), name="odd")
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (run.folder / "model.pkl").write_bytes(pickle.dumps(Trap()))
    (run.folder / "link.txt").symlink_to(secret)
    (run.folder / "folder").symlink_to(tmp_path)
    os.mkfifo(run.folder / "pipe.txt")
    with pytest.raises(UsageError, match="is a pickle, which executes code"):
        run.load("model.pkl")
    assert not (tmp_path / "sprung").exists()
    run.load("model.pkl", allow_pickle=True)
    assert (tmp_path / "sprung").exists()
    for name in ("link.txt", "folder/secret.txt", "pipe.txt"):
        assert name not in run.files
        with pytest.raises(UsageError, match="has no file"):
            run.open(name)
    (run.folder / "broken.json").write_text("{")
    with pytest.raises(UsageError, match=r"broken.json is not what its suffix says"):
        run.load("broken.json")


@pytest.mark.slow
def test_arrays_come_back_as_arrays_but_for_those_of_objects(lab, config):
    np = pytest.importorskip("numpy")
    run = lab.submit(config(lr=0.5), name="arrays")
    np.save(run.folder / "a.npy", np.arange(3))
    np.savez(run.folder / "b.npz", x=np.arange(2))
    np.save(run.folder / "c.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert run.load("a.npy").tolist() == [0, 1, 2]
    assert run.load("b.npz")["x"].tolist() == [0, 1]
    with pytest.raises(UsageError, match="holds Python objects, which executes code"):
        run.load("c.npy")


# -- submit -----------------------------------------------------------------------------------------------


def test_a_refusal_has_all_problems_and_leaves_nothing(lab, config, tmp_path):
    lab.submit(config(lr=0.1), name="first")
    before = files_of(lab)
    with pytest.raises(ConfigRefusedError) as caught:
        lab.submit(config("Nope", maxAttempts="never"), name="second", inputs={"genes": "g1"})
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"tasks[0].method", "maxAttempts"}
    assert str(caught.value).startswith("The config has 2 problems:\n  second.yaml: ")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
    with pytest.raises(ConfigRefusedError, match="there must be two genes at least"):
        lab.submit(config(lr=0.1), name="third", inputs={"genes": ["g1"]})
    with pytest.raises(ConfigRefusedError, match=r"The path first already exists in Output"):
        lab.submit(config(lr=0.1), name="first")
    with pytest.raises(ConfigRefusedError, match=r"there is no train2 for train2\.lr"):
        lab.submit(config(lr=0.1), name="fourth", set={"train2.lr": 1})
    with pytest.raises(UsageError, match="a function is not kept"):
        lab.submit(config(lr=lambda: 1), name="fifth")
    with pytest.raises(UsageError, match="There is no file"):
        lab.submit(tmp_path / "nowhere.yaml")
    assert files_of(lab) == before
    assert len(lab.runs()) == 1


def test_a_dict_may_hold_what_python_programs_have(lab, config):
    np = pytest.importorskip("numpy")
    values = config(lr=np.float64(0.5), day=dt.date(2026, 11, 27), where=Path("a/b"), layers=(1, np.int64(2)))
    run = lab.submit(values, name="values", set={"train.epochs": np.int32(4), "lr": 0.25})
    assert run.config["lr"] == 0.25
    assert run.config["day"] == "2026-11-27"
    assert run.config["where"] == "a/b"
    assert run.config["layers"] == [1, 2]
    assert run.config["tasks"][0]["epochs"] == 4


def test_a_file_is_submitted_as_it_is_and_problems_have_its_lines(lab, config, tmp_path):
    path = tmp_path / "draft.yaml"
    path.write_text(
        f"pathToTasks: {config()['pathToTasks']}\noutputDir: drafts/{{name}}\nlr: -1\n"
        "tasks:\n  - {id: train, method: Train}\n"
    )
    with pytest.raises(ConfigRefusedError) as caught:
        lab.submit(path)
    assert [(p.file, p.line) for p in caught.value.problems] == [("draft.yaml", 3)]
    run = lab.submit(str(path), set={"lr": 0.5})
    assert run.name == "drafts/draft"
    assert lab.run("draft") == run


def test_inputs_of_every_kind_are_files_of_the_run(lab, config, tmp_path):
    np = pytest.importorskip("numpy")
    own = tmp_path / "mine.csv"
    own.write_text("a,b\n1,2\n")
    given = {"words": ["a", "b"], "raw": b"\0", "table": own, "array": np.arange(3), "more": {"x": [1, None]}}
    run = lab.submit(config(lr=0.5), name="inputs", inputs=given)
    names = ["array.npy", "mine.csv", "more.json", "raw.bin", "words.txt"]
    assert [name for name in run.files if name.startswith("inputs/")] == [f"inputs/{name}" for name in names]
    assert run.load("words.txt") == "a\nb\n"
    assert run.load("array.npy").tolist() == [0, 1, 2]
    assert run.load("more.json") == {"x": [1, None]}
    assert run.config["table"] == str(run.folder / "inputs/mine.csv")
    assert "inputs/mine.csv" in run.provenance["source"]
    assert "submitted" not in run.provenance["source"]
    own.unlink()
    assert run.path("mine.csv").read_text() == "a,b\n1,2\n"
    assert os.listdir(lab.path / "Misc/submitted") == []
    for wrong in ({"a b": "x"}, {"x": object()}, {"x": tmp_path / "nowhere"}, {"x": tmp_path}):
        with pytest.raises(UsageError):
            lab.submit(config(lr=0.5), name="wrong", inputs=wrong)
    assert os.listdir(lab.path / "Misc/submitted") == []


@pytest.mark.slow
def test_a_sweep_is_submitted_as_several_runs(lab, config):
    swept = config(sweep={"grid": {"lr": [0.1, 0.2]}}, outputDir="swept")
    with pytest.raises(UsageError, match="submit_all"):
        lab.submit(swept)
    runs = lab.submit_all([swept, config(lr=1, outputDir="alone")])
    assert isinstance(runs, Runs)
    assert sorted(runs.names) == ["alone", "swept/lr=0.1", "swept/lr=0.2"]
    with pytest.raises(UsageError, match="inputs belong to one"):
        lab._submitted([config(sweep={"grid": {"lr": [1]}}, outputDir="b")], None, None, {"genes": "a b"})
    lab.work()
    assert {run.status for run in runs} == {"completed"}
    assert lab.wait("swept").names == ("swept/lr=0.1", "swept/lr=0.2")


@pytest.mark.slow
def test_threads_and_processes_submit_at_once(lab, config, environment):
    names, lost = [], []
    given = config(lr=0.5)
    given["pathToTasks"] = str(given["pathToTasks"])

    def submit(number):
        try:
            names.append(lab.submit(given, name=f"own/{number}").name)
            names.append(lab.submit(given, name="shared").name)
        except ConfigRefusedError as error:
            lost.append(error)

    script = f"""
        from job_orchestration import ConfigRefusedError, Workspace
        lab = Workspace({str(lab.path)!r})
        print(lab.submit({given!r}, name="own/process").name)
        try:
            print(lab.submit({given!r}, name="shared").name)
        except ConfigRefusedError:
            pass
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script).replace("own/process", f"own/process{n}")],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    threads = [threading.Thread(target=submit, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        names += process.communicate(timeout=120)[0].split()
        assert process.returncode == 0
    assert sorted(names) == sorted(
        [*(f"own/{n}" for n in range(6)), "own/process0", "own/process1", "shared"]
    )
    assert all("already exists" in str(error) for error in lost)
    assert sorted(run.name for run in lab.runs()) == sorted(names)
    assert len(os.listdir(lab.path / "ConfigsToRun")) == 9


@pytest.mark.slow
def test_twenty_threads_change_their_runs_while_others_submit(lab, config):
    def live(number):
        run = lab.submit(settings, name=f"t/{number}")
        for _ in range(5):  # no worker is there: nothing may be refused
            assert run.hold().status == "held"
            assert run.release().status == "to_run"
        ends.append(run.cancel().wait(60).status)

    settings, ends = config(lr=1), []
    threads = [threading.Thread(target=live, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert ends == ["cancelled"] * 20


INTERRUPTED = """
import os, signal, sys, threading, time
from job_orchestration import Workspace

def interrupt(condition):
    def look():
        while not condition():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=look, daemon=True).start()

path, code, gate = sys.argv[1:]
lab, task = Workspace(path), {"id": "waits", "method": "Waits"}
run = lab.submit({"pathToTasks": code, "tasks": [task], "gate": gate, "graceTime": "0s"}, name="a")
interrupt(lambda: run.progress)
try:
    lab.work()
except KeyboardInterrupt:
    print("work", run.status)
interrupt(lambda: any("otify" in t.name or "bserver" in type(t).__name__ for t in threading.enumerate()))
try:
    run.wait()
except KeyboardInterrupt:
    print("wait", run.status, threading.active_count())
with lab.up() as up:
    lab._reader._lock.acquire()  # as if another thread were reading
    child = os.fork()
    if child == 0:
        try:
            with up:
                print("child", len(lab.runs()), run.tasks[0].id, up.is_alive, flush=True)
        finally:
            os._exit(0)
    lab._reader._lock.release()
    os.waitpid(child, 0)
    assert up.is_alive
    open(gate, "w").close()
    print("run", run.wait().status, run.tasks[0].tries)
"""


@pytest.mark.slow
def test_a_program_goes_on_after_an_interrupt_and_in_a_forked_child(lab, config, tmp_path, environment):
    code = config()["pathToTasks"]
    words = [sys.executable, "-c", INTERRUPTED, str(lab.path), code, str(tmp_path / "gate")]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert said.stdout.splitlines() == [
        "work to_run",
        "wait to_run 1",
        "child 1 waits True",
        "run completed 2",
    ], said


@pytest.mark.slow
def test_a_surprise_is_explained_confirmed_and_located(lab, repository, git):
    code = repository(TASKS)
    given = {"pathToTasks": code, "tasks": [{"id": "train", "method": "Train"}], "lr": 0.1}
    good = lab.submit(given, name="good", inputs={"genes": ["a", "b"]})
    for number in range(3):
        path = code / "Tasks.py"
        text = path.read_text()
        path.write_text(text.replace("1 - self", "0.5 - self") if number == 1 else f"{text}# {number}\n")
        git(code, "commit", "--quiet", "--all", f"--message=change {number}")
    bad = lab.submit(given, name="bad", inputs={"genes": ["a", "b"]})
    lab.work()
    found = lab.diff(good, bad)
    assert found["only"]["kind"] == "code", "the same inputs in another folder are no difference"
    other = lab.submit(given, name="other", inputs={"genes": ["a", "c"]})
    lab.work()
    assert [change["name"] for change in bad.diff(other)["parameters"]] == ["genes"]
    assert lab.rows("good", "bad")[0]["train.accuracy"] == 0.9
    again = bad.rerun()
    assert again.load("genes.txt") == "a\nb\n"
    lab.work()
    assert [record["verdict"] for record in lab.verify(again.name)] == ["identical"]
    with pytest.raises(RunRefusedError, match="is no rerun"):
        lab.verify("bad")
    lines = []
    located = lab.bisect(good, bad, "accuracy", say=lines.append)
    subject = git(code, "log", "-1", "--format=%s", located["commit"])
    assert subject == "change 1", (located["verdict"], lines)


# -- work and wait ----------------------------------------------------------------------------------------


def test_the_state_of_a_run_is_read_from_its_own_files(lab, config, monkeypatch):
    lab.submit_all([config(lr=1, outputDir=f"many/{n}") for n in range(4)])
    one = lab.submit(config(lr=1), name="one")
    held, other, trial = lab.run("many/1").hold(), lab.run("many/2"), lab.runs("many/3")[0]
    trial.hold().release()
    opened: list[str] = []

    def noted(real):
        return lambda path, *more, **options: opened.append(str(path)) or real(path, *more, **options)

    for run, status in ((one, "to_run"), (held, "held"), (other, "to_run"), (trial, "to_run")):
        assert run.status == status  # the first time its token is looked for
        opened.clear()
        with monkeypatch.context() as patch:
            for name in ("open", "stat", "lstat"):
                patch.setattr(os, name, noted(getattr(os, name)))
            patch.setattr("builtins.open", noted(open))
            found = (run.status, run.has_ended, run.progress, run.error)
        assert found == (status, False, None, None)
        names = {name for path in opened if (name := Path(path).name).endswith(".yaml")}
        assert len({name.partition(".")[0].partition("~")[0] for name in names}) == 1, names
        folders = {Path(path).parent for path in opened if path.endswith(".jsonl")}
        assert folders == {run.folder / "journal"}
    held.cancel()
    assert (held.status, held.has_ended) == ("cancelled", True)
    assert "cancel" in held.error
    other.cancel().retry()
    assert other.status == "to_run"
    with pytest.raises(UsageError, match="There is no run gone"):
        Run(lab._reader, "gone").status  # noqa: B018


@pytest.mark.slow
def test_a_wait_is_woken_by_the_end_and_says_when_its_time_is_over(lab, config, tmp_path):
    run = lab.submit(config("Waits", gate=tmp_path / "gate"), name="slow")
    with pytest.raises(TimeoutError, match=r"not ended within 0.2 s: slow"):
        run.wait(0.2)
    with lab.up(workers=1) as running:
        assert running.is_alive
        while run.progress is None:
            assert running.is_alive, running.lines
        assert run.progress == 0.25
        assert run.status == "running"
        (tmp_path / "gate").touch()
        assert run.wait(60).has_ended
    assert not running.is_alive
    assert lab.wait().names == ()
    assert lab.wait("slow").names == ("slow",)


@pytest.mark.slow
def test_work_runs_in_a_thread_and_ends_when_it_cannot_work(lab, config):
    runs = lab.submit_all([config(lr=0.5, outputDir=f"r/{n}") for n in "ab"])
    done = []
    thread = threading.Thread(target=lambda: done.append(lab.work(workers=2)))
    thread.start()
    runs.wait(100)
    thread.join()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    with pytest.raises(UsageError, match="is not a list such as gpus=2"):
        lab.work(resources={"gpus": -1})


PROGRAM = """
import sys
from job_orchestration import Workspace
lab = Workspace(sys.argv[1])
if sys.argv[2] == "work":
    try:
        lab.work()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
else:
    with lab.up() as running:
        print(running._process.pid, flush=True)
        sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["work", "up"])
def test_workers_end_with_their_program_and_runs_go_on_later(
    lab, config, tmp_path, environment, eventually, how
):
    run = lab.submit(config("Waits", gate=tmp_path / "gate", graceTime=1), name="slow")
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(lab.path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    eventually(lambda: run.progress is not None)
    if how == "work":
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=100)[0] == "interrupted\n"
        assert run.status == "to_run", "it was released politely"
    else:
        program.kill()
        program.communicate(timeout=100)
        eventually(lambda: run.status in {"to_run", "interrupted"})
    (tmp_path / "gate").touch()
    assert lab.work() is True
    assert run.status == "completed"
    assert [task.tries for task in run.tasks] == [2]


@pytest.mark.slow
def test_what_goes_on_does_not_end_with_the_thread_that_started_it(lab, config, tmp_path):
    started = []
    thread = threading.Thread(target=lambda: started.append(lab.up()))
    thread.start()
    thread.join()
    with started[0] as running:
        lab.submit(config(lr=0.5), name="later").wait(100)
        assert running.is_alive


@pytest.mark.slow
def test_watch_queues_what_is_dropped(lab, config, eventually, monkeypatch):
    given = config(lr=0.5)
    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", str(lab.path))
    with lab.watch() as watching:
        from job_orchestration.clientUtils import saveConfigs

        saveConfigs({"dropped": given})
        eventually(lab.runs, what="\n".join(watching.lines))
    assert lab.run("dropped").name == "runs/dropped"


@pytest.mark.slow
def test_ready_and_check_say_what_is_wrong(lab, config, monkeypatch):
    from job_orchestration.clientUtils import saveConfigs

    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", str(lab.path))
    saveConfigs({"fine": config(lr=0.5), "bad": config(lr=-1)})
    assert [problem.file for problem in lab.check() if problem.is_error] == ["bad.yaml"]
    with pytest.raises(ConfigRefusedError, match="lr must be positive"):
        lab.ready()
    assert lab.runs().names == ("runs/fine",)
    with pytest.raises(RunRefusedError, match=r"1 run was refused:\n  fine: has not failed") as caught:
        lab.retry("fine")
    assert caught.value.problems[0].file == "fine"
    with pytest.raises(UsageError, match="No run is named"):
        lab.cancel()
    with pytest.raises(UsageError, match="is not queued yet"):
        lab.run("bad")


def test_a_workspace_is_found_from_inside_and_missed_with_a_sentence(lab, tmp_path, monkeypatch):
    inside = lab.path / "Output"
    assert Workspace(inside).path == lab.path
    monkeypatch.chdir(inside)
    assert Workspace().path == lab.path
    monkeypatch.chdir("/")
    with pytest.raises(WorkspaceError, match="No workspace is given"):
        Workspace()
    with pytest.raises(WorkspaceError, match="is not a workspace"):
        Workspace(tmp_path)


# -- notebooks --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_notebooks_show_tables_in_which_nothing_is_executed(lab, config, tmp_path):
    nasty = "<script>alert(1)</script>&\"'"
    run = lab.submit(config("Fails", mended=tmp_path / "x", maxAttempts=1), name="a<b>&'\"")
    lab.submit(config(lr=nasty.count("x") + 1), name="<img src=x onerror=alert(1)>")
    lab.work()
    for shown in (run, lab.runs(), lab, lab.status(), lab.runs()[:1]):
        html = shown._repr_html_()
        assert html.startswith("<table>")
        assert "a&lt;b&gt;&amp;&#x27;&quot;" in html
        assert "<b>" not in html
        assert "<img" not in html
    assert "ValueError: as the test asked &lt;b&gt;" in run._repr_html_()
    assert repr(run) == "<Run 'a<b>&\\'\"': failed>"
    assert repr(lab.runs("a<b*")).startswith("<1 runs: ")


def test_help_is_readable_and_names_nothing_internal():
    for thing in (Workspace, Run, Runs):
        text = "\n".join(
            str(inspect.signature(member)) + (inspect.getdoc(member) or "")
            for name, member in inspect.getmembers(thing, inspect.isfunction)
            if not name.startswith("_")
        )
        assert "_reader" not in text
        assert thing.__module__ == "job_orchestration"
        for name, member in vars(thing).items():
            if not name.startswith("_"):
                assert inspect.getdoc(member), f"{thing.__name__}.{name}"
    assert set(job_orchestration.__all__) >= {"Workspace", "Run", "Runs", "ConfigRefusedError"}


def test_every_command_has_its_method():
    here = {name for name in dir(Workspace) if not name.startswith("_")}
    here |= {
        "init",
        "show",
        "logs",
        "import",
        "code",
    }  # create(), run(), Run.log(), import_runs(), Run.code()
    of_terminals = {"progressReport", "debug", "completion", "schema", "notify", "serve", "geneplexus"}
    of_terminals |= {"run", "config", "selftest"}  # from Python they are a Job, a file, and a Job again
    assert {command.name for command in command_table.COMMANDS} - of_terminals <= here


def test_a_task_pays_nothing_for_it():
    own = "[m for m in sys.modules if m.startswith(('job_orchestration.api', 'job_orchestration.commands'))]"
    code = f"import job_orchestration, sys; print({own})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
