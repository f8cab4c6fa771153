"""The code that a run executes: that of its commit, its own, and asked before anything is queued."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.integration.harness import PACKAGE, git

TASKS = """
    import os
    import signal
    import sys
    import time

    from job_orchestration import TaskBase


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Quick(Base):
        def run(self):
            return 1
"""


# -- the code that runs -------------------------------------------------------------------------------------


SAYS = """

from word import WORD


class Says(Base):
    def run(self):
        import later

        return [WORD, later.WORD, os.path.dirname(__file__), os.getcwd()]
"""


def test_a_queued_run_executes_its_commit_whatever_becomes_of_the_repository(sandbox):
    repository = sandbox.repository
    with (repository / "Tasks.py").open("a") as file:
        file.write(SAYS)

    def says(word: str) -> None:
        for name in ("word", "later"):
            (repository / f"{name}.py").write_text(f"WORD = '{name} {word}'\n")

    says("first")
    sandbox.commit()
    sandbox.queue("a", "Says")
    says("second")
    sandbox.queue("b", "Says", UNSAFE_ignoreDirtyCheck=True)
    sandbox.commit()
    git(repository, "commit", "--quiet", "--amend", "--message=amended")
    git(repository, "update-ref", "HEAD", git(repository, "commit-tree", "HEAD^{tree}", "-m", "rebased"))
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "--quiet", "--prune=now")
    shutil.rmtree(repository)
    sandbox.work()
    for run, word in {"a": "first", "b": "second"}.items():
        found = sandbox.results(run)["says"]
        assert found[:2] == [f"word {word}", f"later {word}"]
        commit = sandbox.events(run, "readied")[0]["code"]["commit"]
        assert found[2:] == [
            f"{sandbox.root}/Misc/snapshots/{commit}",
            f"{sandbox.output(run)}/working_directory",
        ]


SAME = """
    import helper
    from job_orchestration import TaskBase


    class Same(TaskBase):
        def __init__(self, config):
            pass

        def run(self):
            return [NAME, helper.WHO]
"""


def test_more_folders_of_tasks_than_fork_servers_never_meet_in_one_worker(sandbox):
    wanted = {}
    for n in range(4):
        repository = sandbox.make_repository(f"code{n}", SAME.replace("NAME", str(n)))
        (repository / "helper.py").write_text(f"WHO = 'helper of {n}'\n")
        sandbox.commit(repository)
        for turn in ("first", "second"):
            sandbox.drop(f"{turn}{n}", "Same", pathToTasks=str(repository))
            wanted[f"{turn}{n}"] = {"same": [n, f"helper of {n}"]}
    assert not sandbox.ready().refused
    said = sandbox.work()
    assert {run: sandbox.results(run) for run in wanted} == wanted, said


EDITABLE = """
import importlib.machinery
import importlib.util
import sys

MAPPING = {{"mapped": {folder!r}}}


class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            return importlib.util.spec_from_file_location(name, MAPPING[name] + "/__init__.py")


Finder.__module__ = __name__
sys.meta_path.append(Finder)
"""


BOTH = """

import mapped
import pathed


class Both(Base):
    def run(self):
        return [pathed.VALUE, mapped.VALUE, pathed.__file__, mapped.__file__]
"""


def test_editable_installs_of_the_work_tree_are_those_of_the_commit(sandbox, monkeypatch):
    repository = sandbox.repository
    for folder in ("src/pathed", "src2/mapped"):
        (repository / folder).mkdir(parents=True)
        (repository / folder / "__init__.py").write_text("VALUE = 'committed'\n")
    with (repository / "Tasks.py").open("a") as file:
        file.write(BOTH)
    sandbox.commit()
    site = sandbox.folder / "site"
    site.mkdir()
    (site / "the_finder.py").write_text(EDITABLE.format(folder=str(repository / "src2" / "mapped")))
    (site / "sitecustomize.py").write_text("import the_finder\n")
    path = os.pathsep.join([str(site), str(repository / "src")])
    monkeypatch.setenv("PYTHONPATH", path)
    sandbox.queue("a", "Both")
    for folder in ("src/pathed", "src2/mapped"):
        (repository / folder / "__init__.py").write_text("VALUE = 'edited'\n")
    sandbox.work(PYTHONPATH=os.pathsep.join([path, str(PACKAGE.parent)]))
    *values, one, two = sandbox.results("a")["both"]
    assert values == ["committed", "committed"]
    assert all("/Misc/snapshots/" in file for file in (one, two))


def test_a_module_that_still_comes_from_the_work_tree_is_a_problem_before_anything_is_queued(sandbox):
    (sandbox.repository / ".gitignore").write_text("hidden.py\n")
    (sandbox.repository / "hidden.py").write_text("VALUE = 1\n")
    with (sandbox.repository / "Tasks.py").open("a") as file:
        file.write(f"\nsys.path.append({str(sandbox.repository)!r})\nimport hidden\n")
    sandbox.commit()
    sandbox.drop("a", "Quick")
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert "module hidden comes from the work tree" in str(problem)
    assert sandbox.names("ConfigsToRun") == []


# -- asking the tasks ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_validate_that_crashes_exits_or_hangs_harms_only_its_own_config(sandbox, monkeypatch):
    ends = {
        "Crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        "Exits": ("os._exit(0)", "ended the process with exit code 0"),
        "Leaves": ("sys.exit('so long')", "raised SystemExit: so long"),
        "Interrupts": ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        "Hangs": ("time.sleep(1000)", "took longer than 1 s"),
        "Deaf": ("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)", "took longer than 1 s"),
        "Closes": ("os.closerange(0, 1000)", "ended the process with exit code"),
        "Odd": ("return 7", "raised TypeError"),
        "Text": ("return 'one sentence'", "one sentence"),
        "Fine": ("return None", None),
    }
    with (sandbox.repository / "Tasks.py").open("a") as file:
        for name, (source, _) in ends.items():
            file.write(f"\n\nclass {name}(Quick):\n    def validate(self):\n        {source}\n")
    sandbox.commit()
    monkeypatch.setattr("job_orchestration.executor.validation_client.SILENCE_LIMIT", 1)
    for name in ends:
        sandbox.drop(name.lower(), name)
    sandbox.drop("another", "Quick")
    report = sandbox.ready()
    assert sorted(q.file for q in report.queued) == ["another.yaml", "fine.yaml"]
    for name, (_, printed) in ends.items():
        if printed is not None:
            (problem,) = report.refused[f"{name.lower()}.yaml"]
            assert printed in str(problem)
