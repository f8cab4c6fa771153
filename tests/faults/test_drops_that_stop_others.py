"""Whatever goes wrong with one drop, at whatever point of its way, refuses that drop alone."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from job_orchestration.config import validation
from job_orchestration.runs import opening
from job_orchestration.submission import dependencies, output_folders, pipeline, recipient_check
from tests.conftest import wait_until
from tests.faults.plain_user import IS_ROOT, PlainUser, ended
from tests.faults.workspace_files import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TASKS = """
    from job_orchestration import TaskBase

    class Quick(TaskBase):
        def run(self):
            return 1
"""
GOOD = ("a_good", "m_good", "z_good")
LONG = "n" * 300


@pytest.fixture
def user() -> Iterator[PlainUser]:
    made = Path(tempfile.mkdtemp(prefix="job_orchestration."))
    yield PlainUser(made)
    for folder, folders, _ in os.walk(made):
        for name in folders:
            Path(folder, name).chmod(0o755)
    shutil.rmtree(made)


def drop_all(user: PlainUser) -> dict[str, str]:
    """Drop good configs and bad ones; returns what each bad one is refused with."""
    repository = user.repository("repository")
    for name in GOOD:
        user.drop(name, repository)
    user.others(user.output / "theirs")
    user.others(user.output / "closed", mode=0o000)
    user.others(user.own_folder(user.output / "mine") / "old" / "inside")
    (user.output / "mine" / "old").chmod(0o555)
    theirs = "nothing can be written into Output/theirs, which belongs to"
    unknown = "is neither a run nor a config of the same pass"
    bad: dict[str, tuple[str, dict[str, object]]] = {
        "theirs": (theirs, {"outputDir": "theirs/run"}),
        "deep": (theirs, {"outputDir": "theirs/a/b/c"}),
        "closed": ("nothing can be written into Output/closed", {"outputDir": "closed/run"}),
        "old": ("it cannot be queued: ", {"outputDir": "mine/old", "overwriteOutputFine": True}),
        "sweep": (theirs, {"outputDir": "theirs/sweep", "sweep": {"grid": {"x": [1, 2]}}}),
        "search": (
            theirs,
            {
                "outputDir": "theirs/search",
                "sweep": {"search": {"space": {"x": [1, 2]}, "metric": "one", "method": "grid"}},
            },
        ),
        "after": (unknown, {"after": [LONG]}),
        "after_folder": (unknown, {"after": [f"runs/{LONG}/{LONG}", "x/" * 2000 + "y"]}),
        "after_many": (unknown, {"after": ["runs/a_good/log.log/x", ".", "..", "/", "theirs", "closed/x"]}),
    }
    for name, (_, values) in bad.items():
        user.drop(name, repository, **values)
    return {name: sentence for name, (sentence, _) in bad.items()}


def assert_only_the_bad_are_refused(user: PlainUser, bad: dict[str, str]) -> None:
    assert user.tokens() == sorted(GOOD)
    problems = user.problems()
    assert sorted(problems) == sorted(bad)
    for name, sentence in bad.items():
        assert sentence in problems[name], (name, problems[name])
    assert sorted(p.stem for p in user.sources.glob("*.yaml")) == sorted(bad)
    assert os.listdir(user.workspace / "Misc" / "opening") == []
    assert os.listdir(user.output / "theirs") == []


@pytest.mark.slow
def test_a_folder_of_another_user_and_a_name_too_long_stop_neither_ready_nor_check(user):
    bad = drop_all(user)
    checked = user.run("check", check=3)
    assert [f"{name}.yaml: fine" in checked.stdout for name in GOOD] == [True] * 3
    user.run("ready", check=3)
    assert_only_the_bad_are_refused(user, bad)


@pytest.mark.slow
def test_nor_do_they_stop_watch(user):
    bad = drop_all(user)
    process = user.start("watch")
    try:
        wait_until(lambda: len(user.problems()) == len(bad) and user.tokens() == sorted(GOOD))
    finally:
        said = ended(process, process.terminate)
    assert_only_the_bad_are_refused(user, bad)
    assert "The workspace cannot be used" not in said


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root can drop a file that the user cannot remove")
def test_a_source_that_cannot_be_removed_is_queued_once_and_the_others_too(user):
    repository = user.repository("repository")
    rooted = user.drop("rooted", repository)
    os.chown(rooted, 0, 0)
    rooted.chmod(0o644)
    user.drop("a_good", repository)
    user.drop("swept", repository, sweep={"grid": {"x": [1, 2]}})
    os.chown(user.sources / "swept.yaml", 0, 0)
    os.chown(user.sources, 0, 0)
    user.sources.chmod(0o1777)
    user.run("ready")
    queued = user.tokens()
    assert len(queued) == 4
    again = user.run("ready", check=3)
    assert user.tokens() == queued, "nothing is queued twice"
    assert "rooted.yaml: it was queued as runs/rooted, and cannot be removed" in again.stdout
    assert "swept.yaml: it was queued as runs/swept, and cannot be removed" in again.stdout
    rooted.unlink()
    user.drop("rooted", repository, outputDir="runs/anew")
    assert "rooted.yaml: queued as runs/anew" in user.run("ready", check=3).stdout
    (user.sources / "swept.yaml").unlink()
    user.run("ready")
    assert os.listdir(user.sources) == []
    assert os.listdir(user.workspace / "Misc" / "opening") == []


@pytest.mark.slow
@pytest.mark.skipif(not IS_ROOT, reason="only root can make a file that the user cannot replace")
def test_a_problems_file_of_another_user_stops_nothing(user):
    repository = user.repository("repository")
    user.drop("a_good", repository)
    user.drop("bad", repository, method="Nonsense")
    for name in ("a_good", "bad", "orphan"):
        (user.sources / f"{name}.yaml.problems.txt").write_text("of another user\n")
    os.chown(user.sources, 0, 0)
    user.sources.chmod(0o1777)
    done = user.run("ready", check=3)
    assert user.tokens() == ["a_good"]
    assert "bad.yaml.problems.txt cannot be changed" in done.stdout
    assert "Nonsense" in done.stdout


# -- a fault of our own, or an unforeseen one ------------------------------------------------------


def fail_for_bad(monkeypatch: pytest.MonkeyPatch, module: object, name: str, error: Exception) -> None:
    """Have a function of ours fail for whatever is made of the drop ``bad``."""
    real: Callable[..., object] = getattr(module, name)

    def call(*arguments: object, **more: object) -> object:
        if re.search(r"\bbad\b", repr(arguments)):  # a digest may have these letters, too
            raise error
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, call)


PLACES = {
    "parse": (validation, "check"),
    "choose": (output_folders, "_choose_run"),
    "recipients": (recipient_check, "_check_recipients"),
    "dependencies": (dependencies, "_resolve_one"),
    "prepare": (pipeline, "_opening"),
    "make": (opening, "_fill"),
}
ERRORS = (
    ValueError("as the test asked"),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/somewhere"),
)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_that_was_not_thought_of_refuses_its_drop_alone(sandbox, monkeypatch, place):
    for error in ERRORS:
        if place == "make" and not isinstance(error, OSError):
            continue
        with monkeypatch.context() as broken:
            fail_for_bad(broken, *PLACES[place], error)
            sandbox.drop("good", "Quick", after=[], outputDir=f"good/{type(error).__name__}")
            sandbox.drop("bad", "Quick", after=["good"])
            report = sandbox.ready()
        assert [queued.file for queued in report.queued] == ["good.yaml"]
        assert "it cannot be queued: " in report.refused["bad.yaml"][-1].what
        assert not sandbox.output("bad").exists()
    assert sandbox.ready().refused == {}, "it was whole"
    assert [n.partition("-")[0] for n in names(sandbox.root, "ConfigsToRun")].count("bad") == 1


def test_an_error_of_the_disk_stays_the_workspaces(sandbox, monkeypatch):
    sandbox.drop("good", "Quick")
    sandbox.drop("bad", "Quick")
    for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
        with monkeypatch.context() as broken:
            fail_for_bad(broken, opening, "_fill", OSError(number, os.strerror(number)))
            with pytest.raises(OSError, match=os.strerror(number)):
                sandbox.ready()
        assert names(sandbox.root, "ConfigSources") == ["bad", "good"]
    assert len(sandbox.ready().queued) == 2
