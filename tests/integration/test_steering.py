"""Cancel, hold, release and retry at every moment of a run's life, and the deaths of those who ask."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from job_orchestration.commands import retry as retry_module
from job_orchestration.commands.cancel import cancel
from job_orchestration.commands.hold import hold, release
from job_orchestration.commands.retry import retry
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.status import status
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.processes.wakeup import WakeupPipe
from job_orchestration.queue.queue import Queue
from job_orchestration.runs import cancel_requests, catalog, journal, lifecycle, token, trash
from job_orchestration.runs.events import GaveUp, Outcome, Requeued, TaskFinished, TaskStarted
from job_orchestration.runs.state import Status
from job_orchestration.workspace import durable, layout
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName, worker_name
from tests.integration import runs
from tests.integration.harness import eventually

TASKS = r"""
    import os
    import signal
    import time
    from pathlib import Path

    from job_orchestration import TaskBase

    NOTES = Path(os.environ["JOB_ORCHESTRATION_WORKSPACE"]).parent / "notes"


    def note(name, text):
        NOTES.joinpath(name + ".tmp").write_text(f"{text}\n")
        NOTES.joinpath(name + ".tmp").rename(NOTES / name)


    class Base(TaskBase):
        def __init__(self, config):
            self.config = config


    class Quick(Base):
        def run(self):
            self.context.store.save_json("made.json", self.context.attempt)
            (self.context.resume_dir / "mine").touch()
            print("quick in attempt", self.context.attempt)
            return self.context.attempt


    class Listens(Base):
        # Ends in good order if it is asked to stop.
        def run(self):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note("listens", os.getpid())
            while not self.context.should_stop:
                time.sleep(0.01)
            return "in good order"


    class Fails(Base):
        def run(self):
            if not (NOTES / "mended").exists():
                raise ValueError("as the test asked")
"""


@pytest.fixture
def idle(tmp_path):
    """A workspace without any worker or code."""
    return layout.prepare(str(tmp_path / "idle"))


def state_of(workspace, run):
    return lifecycle.fold(journal.read(workspace.run_folder(run)))


def place_of(workspace, run):
    (found,) = [r.place for r in status(workspace).runs if r.run == run]
    return found


# -- cancel -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [("Listens", "Quick"), ("Listens",)])
def test_a_task_that_ends_in_good_order_keeps_its_checkpoint_and_the_last_one_completes_the_run(
    sandbox, tasks
):
    sandbox.queue("a", *tasks)
    worker = sandbox.start("--until-idle")
    sandbox.note("listens")
    ended = cancel(sandbox.workspace, Selection(("a",)))
    assert sandbox.results("a") == {"listens": "in good order"}
    if len(tasks) > 1:
        assert ended.runs == ["a"]
    else:
        assert "completed before it could be cancelled" in str(*ended.refused)
        assert sandbox.names("Completed") == ["a"]
    sandbox.ended(worker)
    assert worker.returncode == 0, "a run that somebody cancelled has not failed"


def test_a_run_is_cancelled_while_its_tasks_are_still_being_imported(sandbox):
    (sandbox.repository / "Tasks.py").write_text(
        "import os, time\n"
        "if 'JOB_ORCHESTRATION_IMPORTS' in os.environ:\n"
        "    open(os.environ['JOB_ORCHESTRATION_IMPORTS'], 'w').close()\n"
        "    time.sleep(600)\n" + (sandbox.repository / "Tasks.py").read_text()
    )
    sandbox.commit()
    sandbox.queue("a", "Quick")
    flag = sandbox.folder / "importing"
    worker = sandbox.start("--until-idle", JOB_ORCHESTRATION_IMPORTS=str(flag))
    eventually(flag.exists)
    assert cancel(sandbox.workspace, Selection(("a",))).runs == ["a"]
    sandbox.ended(worker)
    assert not sandbox.events("a", "task_started")
    assert not sandbox.events("a", "task_failed")


def test_a_late_request_does_not_stop_the_next_attempt(sandbox):
    sandbox.queue("a", "Listens", "Quick")
    first = sandbox.start()
    sandbox.note("listens")
    (held,) = (sandbox.root / "Running").iterdir()
    first.kill()
    first.wait()
    cancel_requests.ask(sandbox.workspace, str(held), "too late")
    (sandbox.notes / "listens").unlink()
    second = sandbox.start("--until-idle")
    sandbox.note("listens")
    time.sleep(1.2)  # no condition shows that no worker listens: two looks of the worker have gone by
    assert len(sandbox.names("Running")) == 1
    assert cancel(sandbox.workspace, Selection(("a",))).runs == ["a"]
    assert not list((sandbox.root / "Misc" / "cancel").iterdir()), "the late one was cleared away"
    sandbox.ended(second)
    assert state_of(sandbox.workspace, "a").attempt == 2


@pytest.mark.parametrize("how", ["waiting", "delayed", "held", "interrupted"])
def test_a_cancelled_run_without_a_holder_is_moved_to_failed_at_once(idle, how):
    (found,) = runs.queue(idle, "a")
    if how == "interrupted":
        claimed = runs.taken(idle, found)
        claimed.write(TaskStarted("one", 1))
        claimed.release()
    elif how == "delayed":
        os.rename(found.path, found.path.replace("a.yaml", "a~wait20990101T000000Z.yaml"))
    elif how == "held":
        assert hold(idle, Selection(("a",))).runs == ("runs/a",)
    assert cancel(idle, Selection(("a",)), patience=0).runs == ["runs/a"]
    assert runs.tokens(idle) == {"failed": ["a.yaml"]}
    state = state_of(idle, "runs/a")
    assert (state.outcome, state.reason) == (Outcome.CANCELLED, "cancelled on request")
    (refused,) = cancel(idle, Selection(("a",))).refused
    assert "has ended already" in str(refused)


def test_a_run_that_its_holder_only_has_to_move_has_ended_as_it_did(idle):
    (found,) = runs.queue(idle, "a")
    claimed = runs.taken(idle, found)
    claimed.write(GaveUp("enough"), sync=True)
    claimed.release()
    ended = cancel(idle, Selection(("a",)))
    assert "had failed before" in str(*ended.refused)
    assert runs.tokens(idle) == {"failed": ["a.yaml"]}


def test_a_run_that_its_holder_only_has_to_move_cannot_be_held(idle):
    (found,) = runs.queue(idle, "a")
    claimed = runs.taken(idle, found, worker_name(socket.gethostname(), os.getpid(), "abc"))
    claimed.write(GaveUp("enough"), sync=True)
    claimed.release()
    moved = hold(idle, Selection(("a",)))
    assert moved.runs == ()
    assert "has ended" in str(*moved.refused)
    assert runs.tokens(idle).keys() == {"running"}
    assert state_of(idle, "runs/a").status is Status.FAILED


def test_a_holder_that_does_not_answer_has_been_asked(idle):
    (found,) = runs.queue(idle, "a")
    claimed = runs.taken(idle, found)
    assert cancel(idle, Selection(("a",)), "enough of it", patience=0).asked == ["runs/a"]
    assert cancel_requests.reason_for(idle, claimed.path) == "enough of it"
    claimed.release()
    assert cancel(idle, Selection(("a",))).runs == ["runs/a"]


def test_what_waits_to_be_readied_cannot_be_cancelled(idle):
    Path(idle.sources, "a.yaml").write_text("tasks: []\n")
    (refused,) = cancel(idle, Selection(("a",))).refused
    assert "is not queued" in str(refused)


# -- the deaths of those who ask ----------------------------------------------------------------------------


def died_before(which, act):
    """Do something in a fork that dies before its n-th change, or the first of a name."""
    pid = os.fork()
    if pid == 0:
        made = 0

        def intercept(operation, call):
            nonlocal made
            made += 1
            if which in {operation.name, made - 1}:
                os.kill(os.getpid(), signal.SIGKILL)
            return call()

        durable.intercept = intercept
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def failed(workspace, name):
    (found,) = runs.queue(workspace, name)
    claimed = runs.taken(workspace, found)
    claimed.write(TaskStarted("one", 1))
    claimed.write(TaskFinished("one", 0.1, 1), sync=True)
    claimed.write(GaveUp("enough"), sync=True)
    claimed.move(workspace.failed, TokenName(name))
    claimed.release()


ACTS = {
    "cancel": (lambda w: runs.queue(w, "a"), cancel, Place.FAILED),
    "hold": (lambda w: runs.queue(w, "a"), hold, Place.HELD),
    "release": (lambda w: (runs.queue(w, "a"), hold(w, Selection(("a",)))), release, Place.TO_RUN),
    "retry": (lambda w: failed(w, "a"), lambda w, n: retry(w, n, fresh=True), Place.TO_RUN),
}


@pytest.mark.parametrize("command", ACTS)
def test_a_command_may_die_at_any_moment_and_a_second_one_completes_it(tmp_path, command):
    begin, act, place = ACTS[command]
    operation, died = 0, True
    while died:
        workspace = layout.prepare(str(tmp_path / f"{command}{operation}"))
        begin(workspace)
        died = died_before(operation, lambda: act(workspace, Selection(("a",))))  # noqa: B023  # it is called at once
        assert len(inodes(workspace)) == 1
        for found in token.scan(workspace.running) if command == "retry" else ():
            claimed = runs.claim(workspace, found)
            if claimed is not None:  # it was not only a second name, which is gone now
                as_a_worker_does(workspace, claimed)
        if place_of(workspace, "runs/a") is not place:
            act(workspace, Selection(("a",)))
        assert place_of(workspace, "runs/a") is place
        operation += 1
    assert operation > 3, "it made changes, and died before each"


def inodes(workspace):
    """The files in the folders of configs; one that has two names while it is moved is one."""
    folders = workspace.folders.values()
    return {os.stat(os.path.join(folder, name)).st_ino for folder in folders for name in os.listdir(folder)}


def as_a_worker_does(workspace, claimed):
    """Do with a run in Running what its journal says."""
    if claimed.state.status is Status.FAILED:
        runs.finish_move(workspace, claimed, workspace.failed)
    else:
        assert claimed.state.current == 0
        trash.put_output_away(workspace, claimed.run, claimed.state)
        claimed.move(workspace.to_run, TokenName(claimed.name.stem))
    claimed.release()


# -- hold and release ---------------------------------------------------------------------------------------


def test_a_held_run_is_left_alone_until_it_is_released(sandbox):
    sandbox.queue("a", "Quick")
    sandbox.queue("b", "Quick")
    assert hold(sandbox.workspace, Selection(("a", "a.yaml"))).runs == ("a",)
    assert hold(sandbox.workspace, Selection(("a",))).runs == ("a",), "it may be asked for twice"
    counts = status(sandbox.workspace).counts
    assert (counts[Place.HELD], counts[Place.TO_RUN]) == (1, 1)
    sandbox.work()
    assert runs.tokens(sandbox.workspace) == {"to_run": ["a~held.yaml"], "completed": ["b.yaml"]}
    worker = sandbox.start()
    eventually(lambda: list((sandbox.root / "Misc" / "workers").iterdir()))
    assert release(sandbox.workspace, Selection(("a",))).runs == ("a",)
    eventually(lambda: sandbox.names("Completed") == ["a", "b"], seconds=5)
    worker.terminate()
    sandbox.ended(worker)
    (refused,) = hold(sandbox.workspace, Selection(("a",))).refused
    assert "does not wait: it is completed" in str(refused)
    (refused,) = release(sandbox.workspace, Selection(("a",))).refused
    assert "is not held" in str(refused)


def test_a_run_whose_worker_died_can_be_held_and_one_at_work_cannot(idle):
    (found,) = runs.queue(idle, "a")
    claimed = runs.taken(idle, found, worker_name(socket.gethostname(), os.getpid(), "abc"))
    (refused,) = hold(idle, Selection(("a",))).refused
    assert "does not wait: it is running" in str(refused)
    claimed.release()
    assert hold(idle, Selection(("a",))).runs == ("runs/a",)
    assert runs.tokens(idle) == {"to_run": ["a~held.yaml"]}
    assert state_of(idle, "runs/a").status is Status.READY


def test_no_other_file_is_replaced_by_a_release(idle):
    runs.queue(idle, "a")
    hold(idle, Selection(("a",)))
    Path(idle.to_run, "a.yaml").write_text("somebody's\n")
    (problem,) = release(idle, Selection(("runs/a",))).refused
    assert "Another file has the name" in str(problem)
    assert Path(idle.to_run, "a.yaml").read_text() == "somebody's\n"
    assert len(os.listdir(idle.to_run)) == 2


def test_a_token_that_another_process_was_only_moving_is_tried_again_soon(idle):
    (found,) = runs.queue(idle, "a")
    queue = Queue(idle, WakeupPipe())
    taken = eventually(queue.next)
    assert taken == found
    queue.put_back(found)
    assert queue.next() is None
    assert eventually(queue.next, seconds=5) == found
    queue.close()


# -- retry --------------------------------------------------------------------------------------------------


def test_retry_from_a_task_or_from_the_beginning(sandbox):
    for name in "ab":
        sandbox.drop(name, "Quick", "Fails", maxAttempts=1)
    sandbox.ready()
    sandbox.work()
    before = json.loads((sandbox.output("b") / "provenance.json").read_text())
    (sandbox.notes / "mended").touch()
    with pytest.raises(UsageError, match="has no task nonsense"):
        retry(sandbox.workspace, Selection(("a",)), task="nonsense")
    assert retry(sandbox.workspace, Selection(("a",)), task="quick").runs == ("a",)
    assert not (sandbox.output("a") / ".resume" / "quick").exists(), "nor does it go on from half-way"
    retry(sandbox.workspace, Selection(("b",)), fresh=True)
    assert sorted(os.listdir(sandbox.output("b"))) == [
        "config.yaml",
        "journal",
        "provenance.json",
        "status.yaml",
    ]
    kept = {name for place in (sandbox.root / "Misc" / "trash").glob("*/b") for name in os.listdir(place)}
    assert kept >= {"log.log", "quick", ".resume"}
    sandbox.work()
    there, anew = state_of(sandbox.workspace, "a"), state_of(sandbox.workspace, "b")
    assert (there.status, there.tasks[0].result, there.tasks[0].folder) == (Status.COMPLETE, 3, "quick~2")
    assert (anew.status, anew.tasks[0].result, anew.tasks[0].folder) == (Status.COMPLETE, 3, "quick")
    assert [sandbox.log(name).count("quick in attempt") for name in "ab"] == [2, 1]
    assert json.loads((sandbox.output("b") / "provenance.json").read_text()) == before
    assert anew.requeued is None
    assert there.started_at == sandbox.events("a", "claimed")[0]["at"]
    assert anew.started_at == sandbox.events("b", "claimed")[-1]["at"], (
        "what was before does not count as its time"
    )


def test_a_worker_puts_away_what_a_killed_retry_left(sandbox):
    sandbox.queue("a", "Quick", "Fails", maxAttempts=1)
    sandbox.work()
    (sandbox.notes / "mended").touch()
    trashed = sandbox.root / "Misc" / "trash"
    assert died_before("mkdir", lambda: retry(sandbox.workspace, Selection(("a",)), fresh=True))
    assert (sandbox.output("a") / "quick").exists()
    assert not trashed.exists()
    sandbox.work()
    assert sandbox.names("Completed") == ["a"]
    assert trashed.exists()
    assert state_of(sandbox.workspace, "a").tasks[0].folder == "quick"


def test_a_run_that_has_changed_since_it_was_checked_is_left_alone(tmp_path):
    workspace = layout.prepare(str(tmp_path / "workspace"))
    failed(workspace, "a")
    (record,) = catalog.entries(workspace)
    assert record.state.status is Status.FAILED
    assert retry(workspace, Selection(("a",))).runs == ("runs/a",)
    (found,) = token.scan(workspace.to_run)
    claimed = runs.claim(workspace, found)
    claimed.write(GaveUp("once more"), sync=True)
    claimed.move(workspace.failed, TokenName("a"))
    claimed.release()
    checked = Requeued("x", parameters={"x": 1})
    problem = retry_module._retry_one(workspace, record, checked)
    assert "has changed since it was checked" in problem.what
    (record,) = catalog.entries(workspace)
    assert (record.place, record.state.changes) == (Place.FAILED, ())
    assert retry_module._retry_one(workspace, record, checked) is None
    assert catalog.entries(workspace)[0].state.values["x"] == 1
