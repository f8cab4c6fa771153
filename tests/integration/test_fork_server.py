"""Hosts from their worker's side: imports that fail in every way, deaths in the middle, and what is swept."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from job_orchestration.code.task_importer import CodePlan
from job_orchestration.diagnostics.errors import ForkServerError
from job_orchestration.executor import fork_server_client, messages
from job_orchestration.executor.fork_server_client import ForkServerPool
from job_orchestration.processes import reaper
from job_orchestration.runs.events import Outcome
from job_orchestration.workspace import layout
from tests.integration.harness import PACKAGE, eventually, is_gone


@pytest.fixture
def warm(tmp_path):
    """Hosts of a workspace, ended after the test."""
    found = ForkServerPool(layout.prepare(str(tmp_path / "workspace")))
    yield found
    found.close()


@pytest.fixture
def plan(tmp_path):
    """Makes a plan that imports some source."""

    def make(source: str = "", name: str = "code") -> CodePlan:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Tasks.py").write_text(textwrap.dedent(source))
        return CodePlan(str(folder), ".", str(tmp_path / "nowhere"))

    return make


def script(source: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(source)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    return done.stdout.strip()


# -- imports ------------------------------------------------------------------------------------------------

HOW = {
    "import nothing_of_this_name": "cannot be imported: ModuleNotFoundError",
    "import sys; sys.exit('so long')": "cannot be imported: SystemExit: so long",
    "raise KeyboardInterrupt": "cannot be imported: KeyboardInterrupt",
    "import os; os._exit(0)": "ended with exit code 0",
    "import os; os.kill(os.getpid(), 11)": "ended by SIGSEGV",
    "import time; time.sleep(1000)": "took longer than 2 s",
    "def f(:": "cannot be imported: SyntaxError: invalid syntax (Tasks.py, line 5)",
    "raise ValueError('caf\\udce9\\n  two')": "cannot be imported: ValueError: caf\\udce9\nTraceback",
    "raise ValueError('caf\\udce9' * 100_000)": "cannot be imported: ",
}


@pytest.mark.parametrize(
    ("source", "message"),
    HOW.items(),
    ids=["error", "exit", "ctrl_c", "os_exit", "segv", "hang", "syntax", "strange", "huge"],
)
def test_imports_that_fail_are_one_clear_error_and_leave_nothing(
    warm, plan, monkeypatch, tmp_path, source, message
):
    if "sleep" in source:
        monkeypatch.setattr(fork_server_client, "IMPORT_LIMIT", 2)
    note = tmp_path / "note"
    start = f"""
        import subprocess
        pid = subprocess.Popen(["sleep", "1000"]).pid
        open({str(note)!r}, "w").write(f"{{pid}}")
    """
    with pytest.raises(ForkServerError) as error:
        warm.get(plan(textwrap.dedent(start) + source))
    assert message in error.value.what
    assert len(error.value.what.splitlines()[0].encode()) < 600
    if note.exists():  # a file that does not parse starts nothing
        eventually(lambda: is_gone(int(note.read_text())), "the program that the import started")
    assert [p.pid for p in psutil.Process().children()] == []


def test_a_fork_server_that_cannot_import_is_asked_again_each_time(warm, plan, tmp_path):
    broken = plan(f"open({str(tmp_path / 'count')!r}, 'a').write('x'); raise ImportError('no')")
    for _ in range(2):
        with pytest.raises(ForkServerError):
            warm.get(broken)
    assert (tmp_path / "count").read_text() == "xx"


# -- deaths -------------------------------------------------------------------------------------------------


def test_a_killed_fork_server_with_unread_messages_is_known_to_be_gone(warm, plan):
    fork_server = warm.get(plan())
    os.kill(fork_server.pid, signal.SIGSTOP)
    for _ in range(3):
        fork_server.stop(Outcome.CANCELLED, 1.0)
    os.kill(fork_server.pid, signal.SIGKILL)
    began = time.monotonic()
    assert fork_server.wait(60) is None
    assert time.monotonic() - began < 30, "it was stopped, and did not wait for its limit"
    eventually(fork_server.is_gone)
    assert not fork_server.begin({"kind": "attempt"})


def test_a_peer_that_died_is_the_same_whether_its_messages_were_read_or_not():
    for unread in (False, True):
        mine, theirs = messages.pair()
        if unread:
            messages.send(mine, {"op": "stop"})
        theirs.close()
        assert messages.receive(mine) is None
        assert not messages.send(mine, {"op": "stop"})
        mine.close()


def test_received_descriptors_are_closed_on_exec():
    mine, theirs = messages.pair()
    source = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(source, True)
    messages.send(mine, {"op": "begin"}, [source, source])
    received = messages.receive(theirs)
    assert received is not None
    for descriptor in received[1]:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(descriptor)
    assert len(received[1]) == 2
    os.close(source)
    mine.close()
    theirs.close()


def test_a_fork_server_goes_when_its_owner_is_killed(tmp_path):
    printed = script(f"""
        import os, signal
        from job_orchestration.executor.fork_server_client import ForkServerPool
        from job_orchestration.code.task_importer import CodePlan
        from job_orchestration.workspace import layout
        hosts = ForkServerPool(layout.prepare({str(tmp_path / "workspace")!r}))
        host = hosts.get(CodePlan(modules=("json",)))
        print(host.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL) if not os.fork() else os._exit(0)
    """)
    eventually(lambda: is_gone(int(printed)))


def test_only_so_many_fork_servers_are_kept_warm(warm, plan):
    first, second, third = (warm.get(plan(name=name)) for name in ("one", "two", "three"))
    assert first.is_gone()
    assert warm.get(second.plan) is second
    assert warm.get(third.plan) is third
    assert not second.is_gone()


def test_a_fork_server_that_died_idle_is_replaced(warm, plan):
    fork_server = warm.get(plan())
    os.kill(fork_server.pid, signal.SIGKILL)
    eventually(fork_server.is_gone)
    assert not warm.get(fork_server.plan).is_gone()


def test_what_a_fork_server_said_of_its_last_child_is_not_taken_for_the_next(warm, plan, tmp_path):
    fork_server = warm.get(plan())
    fork_server.shared_page.begin_task(7, time.monotonic())
    fork_server.shared_page.set_progress(3, 4)
    os.kill(fork_server.pid, signal.SIGSTOP)
    assert fork_server.begin({"kind": "validate"})
    assert fork_server.shared_page.task is None
    assert fork_server.shared_page.progress == (0, 0)
    fork_server.kill()


# -- the sweep ----------------------------------------------------------------------------------------------


def test_a_process_that_is_no_worker_ends_only_its_own_fork_servers(warm, plan):
    own = subprocess.Popen(["sleep", "1000"])
    fork_server = warm.get(plan())
    warm.bury(fork_server)
    assert fork_server.is_gone()
    assert own.poll() is None, "a program that calls ready keeps its own children"
    own.kill()
    own.wait()


def test_the_reaper_ends_whatever_descends_from_a_subreaper():
    printed = script("""
        import os, signal, subprocess, time
        from job_orchestration.processes import reaper
        assert not reaper.is_subreaper()
        reaper.become_subreaper()
        assert reaper.is_subreaper()
        reader, writer = os.pipe()
        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)  # orphaned on purpose, in a session of its own
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(writer, str(os.getpid()).encode())
            subprocess.run(["setsid", "sleep", "1000"])
        orphan = int(os.read(reader, 100))
        assert reaper.kill_descendants() == 0
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("nothing is left", os.path.exists(f"/proc/{orphan}"))
    """)
    assert printed == "nothing is left False"


def test_the_reaper_spares_a_family_and_is_not_held_up_by_its_zombies():
    printed = script("""
        import os, subprocess, sys, time
        from job_orchestration.processes import reaper
        reaper.become_subreaper()
        zombie = "import subprocess, sys; p = subprocess.Popen(['true']); print(flush=True); sys.stdin.read()"
        family = subprocess.Popen([sys.executable, "-c", zombie], stdin=-1, stdout=-1)
        family.stdout.readline()
        other = subprocess.Popen(["setsid", "sleep", "1000"])
        began = time.monotonic()
        left = reaper.kill_descendants(spare={family.pid}, seconds=30)
        print(left, family.poll(), os.path.exists(f"/proc/{other.pid}"), time.monotonic() - began < 20)
        family.kill()
    """)
    assert printed == "0 None False True"


def test_the_reaper_ends_in_time_when_a_process_cannot_be_killed():
    printed = script("""
        import os, subprocess, sys, time
        from job_orchestration.processes import reaper
        reaper.become_subreaper()
        zombie = "import subprocess, sys; p = subprocess.Popen(['true']); print(flush=True); sys.stdin.read()"
        stuck = subprocess.Popen([sys.executable, "-c", zombie], stdin=-1, stdout=-1)
        stuck.stdout.readline()
        kill, os.kill = os.kill, lambda pid, number: None  # as if it waited for a disk that does not answer
        print(reaper.kill_descendants(seconds=0.2))
        kill(stuck.pid, 9)
    """)
    assert printed == "1", "the one that cannot be killed; its zombie is its own"


def test_programs_are_known_by_the_mark_of_their_run_and_of_their_workspace(tmp_path):
    environment = {**os.environ, reaper.MARK: "a/b#3", "WORKSPACE": str(tmp_path)}
    others = (
        {reaper.MARK: "a/b#3", "WORKSPACE": "/elsewhere"},
        {reaper.MARK: "a/b2#3"},
        {reaper.MARK: "a#3"},
        {"OTHER": "a/b#3"},
    )
    marked = subprocess.Popen(["setsid", "sleep", "1000"], env=environment)
    spared = [subprocess.Popen(["sleep", "1000"], env={**environment, reaper.MARK: "", **o}) for o in others]
    eventually(lambda: f"{reaper.MARK}=a/b#3".encode() in _environ(marked.pid))
    assert reaper.kill_marked("a/b", str(tmp_path), "WORKSPACE") >= 1
    assert marked.wait(60) == -signal.SIGKILL
    assert [p.poll() for p in spared] == [None] * 4
    for process in spared:
        process.kill()
        process.wait()


def test_forks_are_known_by_the_journal_that_they_could_write(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    path = folder / "000001.jsonl"
    path.touch()
    holds = "import sys, time; file = open(sys.argv[1], sys.argv[2]); print(flush=True); time.sleep(1000)"
    processes = {
        mode: subprocess.Popen([sys.executable, "-c", holds, str(path), mode], stdout=subprocess.PIPE)
        for mode in ("a", "r")
    }
    for process in processes.values():
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
    with path.open("a"):
        assert reaper.kill_marked("a", str(tmp_path), "WORKSPACE", str(folder)) == 1, "its caller is spared"
    assert processes["a"].wait(60) == -signal.SIGKILL
    assert processes["r"].poll() is None, "somebody who reads the journal is no process of the run"
    processes["r"].kill()
    processes["r"].wait()


def _environ(pid: int) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()
