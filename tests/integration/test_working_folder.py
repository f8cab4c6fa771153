"""Where the tasks of a run stand: they read what is committed, and what they write is the run's own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from job_orchestration.code import checkouts
from job_orchestration.runs import working_folder
from job_orchestration.runs.working_folder import MOST_REAL, View, view_in, view_of
from tests.integration.harness import Sandbox, eventually, git

pytestmark = pytest.mark.slow

TASKS = """
    import glob
    import json
    import logging
    import multiprocessing
    import os
    import signal
    import subprocess
    import sys
    import time
    from pathlib import Path

    from job_orchestration import PermanentError, TaskBase

    logging.basicConfig(filename="imported.log", level=logging.INFO, force=True)
    os.makedirs("made/at import", exist_ok=True)
    Path("made/vocabulary.json").write_text("[1]")
    TOP = Path.cwd()
    TABLE = Path("table.csv").read_text()


    def place():
        return os.getcwd()


    class Reads(TaskBase):
        def run(self):
            spawn = multiprocessing.get_context("spawn")
            with spawn.Pool(1) as pool:
                spawned = pool.apply(os.getcwd)
            return {
                "cwd": os.getcwd(),
                "file": __file__,
                "path": [sys.path[0], sys.path[-1]],
                "spawned": spawned,
                "program": subprocess.run(["cat", "table.csv"], capture_output=True, text=True).stdout,
                "script": subprocess.run([sys.executable, "say.py"], capture_output=True, text=True).stdout,
                "table": [TABLE, Path("table.csv").read_text(), (TOP / "table.csv").read_text()],
                "up": [Path("../shared/deep/x.csv").read_text(), sorted(os.listdir(".."))],
                "glob": sorted(glob.glob("**/*.csv", recursive=True)),
                "rglob": sorted(str(p) for p in Path("..").rglob("*.csv")),
                "walk": sorted(os.path.join(f, n) for f, _, names in os.walk(".") for n in names),
                "listed": sorted(os.listdir(".")),
                "vocabulary": json.loads(Path("made/vocabulary.json").read_text()),
            }


    class Writes(TaskBase):
        def run(self):
            name = Path(self.config["outputDir"]).name
            found = [os.path.exists("curve.png"), os.path.exists("results/out.csv"), os.path.exists("own.py")]
            Path("curve.png").write_text(name)
            Path("results/out.csv").write_text(name)
            Path("made/at import/x").write_text(name)
            Path("../beside.txt").write_text(name)
            Path("own.py").write_text(f"NAME = {name!r}")
            logging.info("logged by %s", name)
            os.replace("curve.png", "table.csv")  # as programs save: beside, then over the old one
            os.remove("say.py")
            Path("curve.png").write_text(name)
            import own

            return [*found, own.NAME]


    class After(TaskBase):
        def run(self):
            import own

            return [Path("table.csv").read_text(), os.path.exists("say.py"), own.NAME]


    class Leaves(TaskBase):
        def run(self):
            os.chdir("/")


    class Removes(TaskBase):
        def run(self):
            here = os.getcwd()
            os.chdir("/")
            subprocess.run(["rm", "-rf", here], check=True)


    class Dies(TaskBase):
        def run(self):
            with open("counted", "a") as file:
                file.write("x")
            if not os.path.exists("removed"):
                Path("removed").touch()
                os.remove("say.py")
                victims = {"child": os.getpid(), "fork server": os.getppid()}
                os.kill(victims[self.config["victim"]], signal.SIGKILL)
                time.sleep(1000)
            return [Path("counted").read_text(), os.path.exists("say.py"), Path("table.csv").read_text()]


    class Fails(TaskBase):
        def run(self):
            with open("counted", "a") as file:
                file.write("x")
            if os.path.getsize("counted") < self.config["times"]:
                raise PermanentError("enough")
            return Path("counted").read_text()


    class FailsCleanly(TaskBase):
        def run(self):
            raise PermanentError("enough")


    class Validates(TaskBase):
        def validate(self):
            found = sorted(os.listdir("."))
            Path("validated.txt").write_text("x")
            Path("results/validated.txt").write_text("x")
            return [] if "validated.txt" not in found else ["it is not as new"]

        def run(self):
            return sorted(os.listdir("."))
"""
WRITTEN = ["curve.png", "imported.log", "made/at import/x", "made/vocabulary.json", "own.py"]
WRITTEN += ["results/out.csv", "table.csv"]


def working(sandbox: Sandbox, run: str) -> Path:
    return sandbox.output(run) / "working_directory"


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A repository whose tasks lie in a folder of it, and what its runs left."""
    made = Sandbox(tmp_path_factory.mktemp("folder"), TASKS)
    experiments = made.repository / "experiments"
    for folder in ("shared/deep", "experiments/results"):
        (made.repository / folder).mkdir(parents=True)
    (made.repository / "Tasks.py").rename(experiments / "Tasks.py")
    (made.repository / "shared/deep/x.csv").write_text("x")
    (experiments / "table.csv").write_text("committed")
    (experiments / "say.py").write_text("import os, sys; print(os.getcwd(), sys.path[0])")
    (experiments / "results/.gitkeep").touch()
    (made.repository / "many").mkdir()
    for number in range(MOST_REAL):
        (made.repository / "many" / f"{number}.txt").touch()
    made.commit()
    made.repository = experiments
    made.drop("nothing", "Reads", "Removes", "Leaves")
    made.drop("spawned", "Reads", isolation="spawn")
    for name in ("one", "two"):
        made.drop(name, "Writes", "After")
    made.drop("spawned_too", "Writes", "After", isolation="spawn")
    for victim in ("child", "fork server"):
        made.drop(f"killed {victim}", "Dies", victim=victim)
    made.drop("again", "Fails", times=2)
    made.drop("fresh", "Fails", times=2)
    made.drop("cleanly", "FailsCleanly")
    for name in ("first", "second"):
        made.drop(f"valid_{name}", "Validates")
    report = made.ready()
    assert not report.refused, report.refused
    made.work()
    yield made
    made.close()


@pytest.mark.parametrize("run", ["nothing", "spawned"])
def test_a_task_reads_what_is_committed_by_relative_names(sandbox, run):
    found = sandbox.results(run)["reads"]
    commit = sandbox.events(run, "readied")[0]["code"]["commit"]
    here, code = f"{working(sandbox, run)}/experiments", f"{sandbox.root}/Misc/snapshots/{commit}/experiments"
    assert found["cwd"] == found["spawned"] == here
    assert found["file"] == f"{code}/Tasks.py"
    assert found["path"] == [code, ""]
    assert found["script"].split() == [here, code]
    assert found["program"] == "committed"
    assert found["table"] == ["committed"] * 3
    assert found["up"] == ["x", ["experiments", "many", "shared"]]
    assert found["glob"] == ["table.csv"]
    assert found["rglob"] == ["../experiments/table.csv", "../shared/deep/x.csv"]
    there = ["Tasks.py", "imported.log", "made/vocabulary.json", "results/.gitkeep", "say.py", "table.csv"]
    assert found["walk"] == [f"./{name}" for name in there]
    assert found["listed"] == ["Tasks.py", "imported.log", "made", "results", "say.py", "table.csv"]
    assert found["vocabulary"] == [1]


def test_a_large_folder_is_one_link_and_a_small_one_is_a_folder(sandbox):
    (snapshot,) = (sandbox.root / "Misc/snapshots").iterdir()
    view = view_of(str(snapshot), "experiments")
    assert view.folders == ("experiments", "experiments/results", "shared", "shared/deep")
    assert ("many", f"{snapshot}/many") in view.links
    assert view.links[-1] == ("experiments/Tasks.py", f"{snapshot}/experiments/Tasks.py")


@pytest.mark.parametrize("run", ["one", "two", "spawned_too"])
def test_what_a_task_writes_by_relative_names_is_the_runs_own_and_kept(sandbox, run):
    assert sandbox.results(run) == {"writes": [False, False, False, run], "after": [run, False, run]}
    folder = working(sandbox, run)
    assert [n for n in files(folder) if "__pycache__" not in n] == [
        "beside.txt",
        *(f"experiments/{name}" for name in WRITTEN),
    ]
    for name in ("curve.png", "results/out.csv", "made/at import/x", "table.csv"):
        assert (folder / "experiments" / name).read_text() == run
    log = (folder / "experiments/imported.log").read_text()
    assert log.count("logged by") == 1
    assert f"logged by {run}" in log


def test_nothing_that_tasks_did_is_in_the_snapshot_or_left_where_they_were_imported(sandbox):
    (snapshot,) = (sandbox.root / "Misc/snapshots").iterdir()
    assert (snapshot / "experiments/table.csv").read_text() == "committed"
    assert sorted(p.name for p in (snapshot / "experiments").iterdir()) == [
        *("Tasks.py", "results", "say.py", "table.csv"),
    ]
    assert list((sandbox.root / "Misc/imports").iterdir()) == []
    assert not (sandbox.root / "Misc/trash").exists()
    assert git(sandbox.repository, "status", "--porcelain") == ""


def test_show_names_the_files_and_not_the_links(sandbox, cli):
    shown = cli("--workspace", str(sandbox.root), "show", "one").stdout
    assert "working_directory/experiments/curve.png" in shown
    assert "working_directory/beside.txt" in shown
    assert "say.py" not in shown


def test_a_run_that_writes_nothing_leaves_nothing(sandbox):
    """What the imports wrote is the run's, as it would be the script's; the removed folder was made again."""
    assert files(working(sandbox, "nothing")) == [
        "experiments/imported.log",
        "experiments/made/vocabulary.json",
    ]
    plain = sandbox.make_repository(
        "plain",
        "from job_orchestration import TaskBase\n\n\nclass Quick(TaskBase):\n"
        "    def run(self):\n        return 1\n",
    )
    sandbox.drop("quiet", "Quick", pathToTasks=str(plain))
    assert not sandbox.ready().refused
    sandbox.work()
    assert sandbox.results("quiet") == {"quick": 1}
    assert not working(sandbox, "quiet").exists()


@pytest.mark.parametrize("victim", ["child", "fork server"])
def test_a_run_goes_on_after_a_kill_in_the_folder_as_it_was(sandbox, victim):
    assert sandbox.results(f"killed {victim}")["dies"] == ["xx", False, "committed"]


def test_a_failed_run_goes_on_in_its_folder_and_a_fresh_one_begins_with_a_new_one(sandbox, cli):
    for run in ("again", "fresh"):
        assert (working(sandbox, run) / "experiments/counted").read_text() == "x"
    assert not working(sandbox, "cleanly").exists() or files(working(sandbox, "cleanly"))
    cli("--workspace", str(sandbox.root), "retry", "again")
    cli("--workspace", str(sandbox.root), "retry", "--fresh", "fresh")
    sandbox.work()
    assert sandbox.results("again") == {"fails": "xx"}
    assert sandbox.results("fresh") == {}
    assert (working(sandbox, "fresh") / "experiments/counted").read_text() == "x"
    (kept,) = (sandbox.root / "Misc/trash").glob("*/fresh/working_directory/experiments/counted")
    assert kept.read_text() == "x"


def test_validate_stands_in_a_folder_that_is_thrown_away(sandbox):
    for name in ("valid_first", "valid_second"):
        assert "validated.txt" not in sandbox.results(name)["validates"]


# -- the folder itself --------------------------------------------------------------------------------------


@pytest.fixture
def snapshot(tmp_path):
    made = tmp_path / "snapshots" / ("a" * 40)
    (made / "data").mkdir(parents=True)
    for name in ("Tasks.py", "b.txt", "data/c.txt"):
        (made / name).write_text(name)
    return made


def shown(folder: Path) -> list[str]:
    return files(folder)


@pytest.mark.parametrize("made", range(4))
def test_a_folder_that_a_kill_left_half_made_is_completed(tmp_path, snapshot, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    view = view_of(str(snapshot), ".")
    View(view.inside, view.folders[:made], view.links[: max(made - 1, 0)]).enter(str(tmp_path / "w"))
    view.enter(str(tmp_path / "w"))
    assert shown(tmp_path / "w") == ["Tasks.py", "b.txt", "data/c.txt"]
    assert os.getcwd() == str(tmp_path / "w")


def test_a_complete_folder_is_left_as_it_is(tmp_path, snapshot, monkeypatch):
    monkeypatch.chdir(tmp_path)
    view = view_of(str(snapshot), ".")
    view.enter(str(tmp_path / "w"))
    (tmp_path / "w/b.txt").unlink()
    (tmp_path / "w/own").write_text("own")
    view.enter(str(tmp_path / "w"))
    assert shown(tmp_path / "w") == ["Tasks.py", "data/c.txt", "own"]


def test_a_folder_of_another_commit_shows_the_new_one_and_keeps_what_is_the_tasks(
    tmp_path, snapshot, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    other = snapshot.with_name("b" * 40)
    shutil.copytree(snapshot, other)
    (other / "b.txt").unlink()
    (other / "new.txt").write_text("new")
    view_of(str(snapshot), ".").enter(str(tmp_path / "w"))
    (tmp_path / "w/data/own").write_text("own")
    (tmp_path / "w/data/c.txt").unlink()
    (tmp_path / "w/data/c.txt").write_text("own")
    view_of(str(other), ".").enter(str(tmp_path / "w"))
    assert shown(tmp_path / "w") == ["Tasks.py", "data/c.txt", "data/own", "new.txt"]
    assert (tmp_path / "w/Tasks.py").resolve() == other / "Tasks.py"
    assert (tmp_path / "w/data/c.txt").read_text() == "own"


@pytest.mark.parametrize("kind", ["file", "link to a folder", "dangling link"])
def test_what_is_in_the_way_is_moved_aside(tmp_path, snapshot, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w"
    {
        "file": lambda: path.write_text("own"),
        "link to a folder": lambda: path.symlink_to(tmp_path),
        "dangling link": lambda: path.symlink_to(tmp_path / "nowhere"),
    }[kind]()
    for view in (view_of(str(snapshot), "."), View()):
        view.enter(str(path))
        assert os.getcwd() == str(path)
    assert os.path.lexists(tmp_path / "w~2")


def test_what_imports_wrote_is_the_beginning_of_each_run(tmp_path, snapshot, monkeypatch):
    monkeypatch.chdir(tmp_path)
    view_of(str(snapshot), ".").enter(str(tmp_path / "imports"))
    (tmp_path / "imports/made").mkdir()
    (tmp_path / "imports/made/x").write_text("x")
    (tmp_path / "imports/b.txt").unlink()
    view = view_in(str(tmp_path / "imports"), "")
    for run in ("r", "s"):
        view.enter(str(tmp_path / run))
        assert shown(tmp_path / run) == ["Tasks.py", "data/c.txt", "made/x"]
        (tmp_path / run / "made/x").write_text("changed")
    view.enter(str(tmp_path / "r"))
    assert (tmp_path / "r/made/x").read_text() == "changed"
    assert (tmp_path / "imports/made/x").read_text() == "x"


@pytest.mark.parametrize("for_good", [True, False])
def test_links_go_at_the_end_and_what_is_the_tasks_stays(tmp_path, snapshot, monkeypatch, for_good):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    base = working_folder.of_run(str(run))
    view_of(str(snapshot), ".").enter(base)
    working_folder.leave(str(run), for_good=for_good)
    assert os.listdir(run) == []
    working_folder.leave(str(run), for_good=for_good)
    view_of(str(snapshot), ".").enter(base)
    Path(base, "own").symlink_to("/data")
    os.mkdir(os.path.join(base, "plots"))
    assert working_folder.files_in(str(run)) == ["working_directory/own"]
    working_folder.leave(str(run), for_good=for_good)
    assert shown(Path(base)) == (["own"] if for_good else ["Tasks.py", "b.txt", "data/c.txt", "own"])
    assert os.path.isdir(os.path.join(base, "plots")) is not for_good
    os.unlink(os.path.join(base, "own"))
    working_folder.leave(str(run), for_good=for_good)
    assert os.path.isdir(base) is not for_good, "a retry may need the empty folder that a task made"


# -- the folder of the imports ------------------------------------------------------------------------------


def test_what_a_module_wrote_after_its_import_goes_to_the_trash(sandbox):
    tasks = sandbox.make_repository(
        "late",
        """
        import os
        from pathlib import Path

        from job_orchestration import TaskBase

        HERE = Path.cwd()
        LOG = open("kept.txt", "w")


        class Late(TaskBase):
            def run(self):
                (HERE / "late.txt").write_text("late")
                LOG.write("more")
                LOG.flush()
                return str(HERE)
        """,
    )
    sandbox.drop("late", "Late", pathToTasks=str(tasks))
    assert not sandbox.ready().refused
    sandbox.work()
    assert not Path(sandbox.results("late")["late"]).exists()
    (entry,) = (sandbox.root / "Misc/trash").glob("*/imports")
    assert files(entry) == ["kept.txt", "late.txt"]
    assert (entry / "kept.txt").read_text() == "more"


def test_the_folder_of_a_killed_fork_server_is_removed_by_the_next_one(sandbox):
    tasks = sandbox.make_repository(
        "kill",
        """
        import os
        import signal
        import time
        from pathlib import Path

        from job_orchestration import TaskBase


        class Waits(TaskBase):
            def run(self):
                Path(self.config["notes"], "waits").write_text(f"{os.getcwd()}\\n")
                time.sleep(1000)
        """,
    )
    sandbox.drop("waits", "Waits", pathToTasks=str(tasks))
    assert not sandbox.ready().refused
    worker = sandbox.start("--until-idle")
    assert sandbox.note("waits") == str(working(sandbox, "waits"))
    imports = sandbox.root / "Misc/imports"
    fork_server = sandbox.fork_server_of(worker)
    (left,) = imports.iterdir()
    for pid in (worker.pid, fork_server):
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    eventually(lambda: not sandbox.alive())
    assert left.exists()
    sandbox.drop("later", "Validates")
    assert not sandbox.ready().refused
    assert not left.exists()


# -- snapshots that were changed ----------------------------------------------------------------------------

VANDALS = """
    import os
    from contextlib import suppress
    from pathlib import Path

    from job_orchestration import TaskBase

    CODE = Path(__file__).parent


    class Vandal(TaskBase):
        def run(self):
            with suppress(PermissionError):
                Path("table.csv").write_text("changed")
            for folder in (CODE, CODE / "package"):
                os.chmod(folder, 0o755)
            for name in ("lazy.py", "package/new.py", "package/__init__.py"):
                with suppress(FileNotFoundError):
                    os.chmod(CODE / name, 0o644)
                (CODE / name).write_text("VALUE = 'changed'")
            os.remove(CODE / "gone.txt")


    class Sees(TaskBase):
        def run(self):
            import lazy
            import package

            there = [Path("gone.txt").exists(), (CODE / "package/new.py").exists()]
            return [Path("table.csv").read_text(), lazy.VALUE, package.VALUE, *there]
"""


@pytest.fixture(scope="module")
def vandals(tmp_path_factory):
    made = Sandbox(tmp_path_factory.mktemp("vandals"), VANDALS)
    (made.repository / "package").mkdir()
    (made.repository / "package/__init__.py").write_text("VALUE = 'committed'")
    (made.repository / "lazy.py").write_text("VALUE = 'committed'")
    (made.repository / "table.csv").write_text("committed")
    (made.repository / "gone.txt").write_text("committed")
    made.commit()
    yield made
    made.close()


def changed(sandbox: Sandbox) -> list[str]:
    return sorted(
        str(p.relative_to(e))
        for e in (sandbox.root / "Misc/trash").glob("*/snapshot *")
        for p in e.rglob("*.*")
    )


def test_what_a_task_changed_in_the_snapshot_no_other_run_sees(vandals):
    if os.geteuid() == 0:  # in the same worker; a plain user meets read-only files
        vandals.queue("first", "Vandal")
        vandals.queue("second", "Sees")
        said = vandals.work()
    else:
        vandals.queue("first", "Vandal")
        vandals.work()
        vandals.queue("second", "Sees")
        said = vandals.work()
    assert vandals.results("second")["sees"] == ["committed", "committed", "committed", True, False]
    assert "was changed and is now as the commit has it again" in said
    assert "lazy.py" in said
    wanted = ["lazy.py", "package/__init__.py", "package/new.py"]
    assert changed(vandals) == wanted + (["table.csv"] if os.geteuid() == 0 else [])
    (snapshot,) = (vandals.root / "Misc/snapshots").iterdir()
    assert not os.access(snapshot / "lazy.py", os.W_OK) or os.geteuid() == 0
    assert (snapshot / "lazy.py").stat().st_mode & 0o222 == 0
    assert snapshot.stat().st_mode & 0o222 == (snapshot / "package").stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("how", ["other inodes", "no stamps", "stamps that are none", "touched"])
def test_a_snapshot_that_is_the_commits_is_left_alone(vandals, how):
    (snapshot,) = (vandals.root / "Misc/snapshots").iterdir()
    (stamps,) = (vandals.root / "Misc/code.git/stamps").iterdir()
    if how == "other inodes":
        copy = snapshot.with_name("copy")
        shutil.copytree(snapshot, copy)
        checkouts.unlock_folders(str(snapshot))
        checkouts.unlock_folders(str(copy))
        shutil.rmtree(snapshot)
        copy.rename(snapshot)
    elif how == "touched":
        os.utime(snapshot / "lazy.py")
    else:
        stamps.unlink() if how == "no stamps" else stamps.write_bytes(b"{")
    before = changed(vandals)
    vandals.queue(how, "Sees")
    assert "was changed" not in vandals.work()
    assert vandals.results(how)["sees"] == ["committed", "committed", "committed", True, False]
    assert changed(vandals) == before


def test_gc_keeps_in_the_trash_what_was_written_into_a_snapshot(vandals, cli):
    vandals.queue("quiet", "Sees")
    vandals.work()
    (snapshot,) = (vandals.root / "Misc/snapshots").iterdir()
    checkouts.unlock_folders(str(snapshot))
    (snapshot / "curve.png").write_text("mine")
    cli("--workspace", str(vandals.root), "gc", "--yes")
    assert not snapshot.exists()
    (kept,) = (vandals.root / "Misc/trash").glob("*/snapshot */curve.png")
    assert kept.read_text() == "mine"


# -- links in a commit --------------------------------------------------------------------------------------


def test_a_committed_link_that_leads_out_of_the_repository_is_refused(tmp_path):
    made = Sandbox(tmp_path, VANDALS)
    outside = tmp_path / "outside.py"
    outside.write_text("VALUE = 1")
    inside = {
        "near": "Tasks.py",
        "folder": "..",
        "loop": "loop",
        "deep/up": "../Tasks.py",
        "dangling": "nowhere",
    }
    outward = {
        "absolute.py": str(outside),
        "relative.py": "../outside.py",
        "deep/up": "../../outside.py",
        "over": "..",
    }
    outward |= {"there": str(made.repository / "Tasks.py"), "folder": "..", "away": "/nowhere/at/all"}
    (made.repository / "deep").mkdir()
    for name, target in inside.items():
        (made.repository / name).symlink_to(target if name != "folder" else "deep")
    made.commit()
    made.drop("fine", "Sees")
    assert [queued.file for queued in made.ready().queued] == ["fine.yaml"]
    for number, (name, target) in enumerate(outward.items()):
        link = made.repository / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        made.commit()
        made.drop(f"out{number}", "Sees")
        (problem,) = made.ready().refused[f"out{number}.yaml"]
        assert name in str(problem)
        assert "lead out of the repository" in str(problem)
        git(made.repository, "rm", "--quiet", name)
        (made.repository / "deep").mkdir(exist_ok=True)
    made.close()


def test_bytecode_is_none_of_the_files_that_tasks_wrote(tmp_path):
    folder = Path(working_folder.of_run(str(tmp_path)))
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "lib" / "__pycache__" / "helper.cpython-311.pyc").touch()
    (folder / "lib" / "own.txt").touch()
    assert working_folder.files_in(str(tmp_path)) == ["working_directory/lib/own.txt"]
