"""Telling people: through real servers, real commands and real workers, and in spite of their deaths."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from job_orchestration.actions import notify as notices
from job_orchestration.actions.cancel import cancel
from job_orchestration.actions.hold import hold, release
from job_orchestration.actions.selection import Choice
from job_orchestration.actions.status import SilentRuns
from job_orchestration.engine.herald import Herald
from job_orchestration.engine.lookout import AFTER, EVERY, Lookout
from job_orchestration.files import outbox
from job_orchestration.model.news import News, NewsKind, Recipient
from job_orchestration.notifiers import courier
from job_orchestration.rules.writing import to_yaml
from tests.integration import listeners
from tests.integration.arena import LIMIT, Arena, eventually, is_gone, mutant

TASKS = """
    import time
    from pathlib import Path

    from job_orchestration import PermanentError, TaskBase


    class Quick(TaskBase):
        def __init__(self, config):
            self.config = config

        def run(self):
            print("quick as a flash")
            return 1


    class Fails(Quick):
        def run(self):
            print("here it comes")
            raise ValueError("as it was told to")


    class Hopeless(Quick):
        def run(self):
            raise PermanentError("never")


    class Gated(Quick):
        def run(self):
            while not Path(self.config["notes"], "gate").exists():
                time.sleep(0.01)
"""
needs_apprise = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="the extra [notify] is not installed"
)


@pytest.fixture
def arena(tmp_path):
    arena = Arena(tmp_path, TASKS)
    yield arena
    stop_couriers(arena)
    arena.close()


def couriers(arena):
    """The processes that deliver for this workspace, the forks of their deliveries included."""
    found = {}
    for pid in arena.alive():
        with suppress(OSError):
            if b"--deliver" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def couriers_of(arena):
    """The couriers themselves, without their forks."""
    found = couriers(arena)
    return [pid for pid, parent in found.items() if parent not in found]


def stop_couriers(arena):
    for pid in couriers(arena):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ask(arena, *entries, **more):
    """Write `workspace.yaml`."""
    (arena.root / "workspace.yaml").write_bytes(to_yaml({"notify": list(entries), **more}))


def program(arena, body, name="listens"):
    """A command that runs some Python with the news in `news`; it notes each in a file."""
    path = arena.notes / f"{name}.py"
    heard = arena.notes / name
    path.write_text(
        f"import json, os, sys, time\nnews = json.load(sys.stdin)\nheard = {str(heard)!r}\n{body}\n"
    )
    return shlex.join([sys.executable, str(path)])


KEEPS = "with open(heard, 'a') as file: file.write(json.dumps({**news, 'env': dict(os.environ)}) + '\\n')"


def heard(arena, name="listens"):
    path = arena.notes / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def some_news(number=0, at=None):
    at = at or datetime.now(UTC) + timedelta(microseconds=number)
    return News(f"{number:016x}", NewsKind.GAVE_UP, at.isoformat(), "a failed", "/data/ws", run=None)


def put(arena, count=1, key="notify[0]", at=None):
    recipient = Recipient("workspace", key, "command", "")
    for number in range(count):
        outbox.put(arena.workspace, some_news(number, at), [recipient])


def deliver(arena):
    """Empty the outbox in this process; returns the lines that were said."""
    said = []
    courier.Courier(arena.workspace, said.append).deliver()
    return said


# -- what is told ------------------------------------------------------------------------------------------


def test_b_jo_29_somebody_is_told_when_runs_complete_fail_and_give_up_and_when_the_queue_is_empty(arena):
    ask(
        arena,
        {"command": program(arena, KEEPS), "on": ["completed", "failed", "gave_up", "queue_empty"]},
        dashboardUrl="http://lab3:8000/{run}",
    )
    arena.queue("a", "Quick")
    arena.queue("b", "Fails", maxAttempts=2)
    arena.queue("c", "Quick", notify=None)
    said = arena.work()
    assert "will not be" not in said
    told = heard(arena)
    assert [(n["event"], n["run"]) for n in told] == [
        ("completed", "a"),
        ("failed", "b"),
        ("gave_up", "b"),
        ("queue_empty", None),
    ]
    completed, failed, gave_up, empty = told
    assert completed["output"] == str(arena.output("a"))
    assert completed["dashboard"] == "http://lab3:8000/a"
    assert "quick as a flash" in completed["log"]
    assert completed["elapsed_s"] < LIMIT
    assert failed["title"] == "b: task fails failed and will be tried again"
    assert (failed["task"], failed["tries"], failed["attempt"], failed["outcome"]) == ("fails", 1, 1, "error")
    assert gave_up["reason"] == "task fails failed after 2 tries: ValueError: as it was told to"
    assert any("here it comes" in line for line in gave_up["log"])
    assert empty["counts"] == {"completed": 2, "failed": 1}
    assert completed["env"]["NEWS_EVENT"] == "completed"
    assert completed["env"]["NEWS_RUN"] == "a"
    assert len({n["id"] for n in told}) == 4
    assert outbox.names(arena.workspace) == []


def test_a_run_of_which_nobody_wants_to_hear_leaves_no_trace_of_telling(arena):
    arena.queue("a", "Quick")
    arena.work()
    assert not (arena.root / "Misc" / "outbox").exists()


def test_a_callback_gets_one_json_object_with_the_former_fields_for_each_end(arena):
    with listeners.web() as server:
        url = f"{server.url}/jobs/{{name}}"
        arena.queue("a", "Quick", callbackUrl=url)
        arena.queue("b", "Hopeless", callbackUrl=url)
        arena.work()
        eventually(lambda: len(server.posted) == 2)
        first, second = (p["json"] for p in server.posted)
    assert [p["path"] for p in server.posted] == ["/jobs/a", "/jobs/b"]
    assert (first["jobname"], first["status"], first["status_code"]) == ("a", "Completed", 200)
    assert (second["jobname"], second["status"], second["status_code"]) == ("b", "Failed", 500)
    assert second["reason"] == "task hopeless: PermanentError: never"
    assert server.posted[0]["headers"]["Content-Type"].startswith("application/json")
    assert server.posted[0]["headers"]["Idempotency-Key"] == first["id"]


@needs_apprise
def test_a_mail_arrives_and_its_password_is_nowhere_but_in_workspace_yaml(arena):
    with listeners.mail() as server:
        to = f"mailto://me:sesame77@{server.address}/?mode=insecure&from=me@example.org&to=you@example.org"
        ask(arena, {"to": to, "on": "completed"})
        arena.queue("a", "Quick")
        arena.work()
        eventually(lambda: server.mails)
        eventually(lambda: not outbox.names(arena.workspace))
    assert "Subject: a completed" in server.mails[0]
    assert "quick as a flash" in base64_or_plain(server.mails[0])
    assert base64.b64decode(server.logins[0].split()[-1]) == b"\0me\0sesame77"
    written = [p for p in arena.root.rglob("*") if p.is_file() and b"sesame77" in p.read_bytes()]
    assert written == [arena.root / "workspace.yaml"]


def base64_or_plain(mail):
    """What a mail says, however its parts are encoded."""
    import email

    parts = email.message_from_string(mail).walk()
    return "".join((p.get_payload(decode=True) or b"").decode("utf-8", "replace") for p in parts)


def test_what_a_failure_says_is_shown_and_logged_without_secrets(arena, monkeypatch):
    monkeypatch.setenv("WORD", "sesame77")
    monkeypatch.setattr(courier, "PAUSES", ())
    ask(arena, {"command": [sys.executable, "-c", "import sys; sys.exit(f'no {sys.argv}')", "${WORD}"]})
    (tried,) = notices.try_out(arena.workspace).recipients
    assert "exit code 1: no ['-c', '****']" in tried.error
    put(arena)
    (said,) = deliver(arena)
    logged = Path(outbox.log_path(arena.workspace)).read_text()
    assert "****" in said
    assert "sesame77" not in said + logged


# -- in spite of everything --------------------------------------------------------------------------------

BEFORE_ITS_NEWS = (
    "engine/herald.py",
    "        if wanting:\n",
    "        if wanting: os.kill(os.getpid(), 9)\n        if wanting:\n",
)
AFTER_ITS_NEWS = (
    "engine/worker.py",
    "        claim.move(self.workspace.folders[place]",
    "        os.kill(os.getpid(), 9); claim.move(self.workspace.folders[place]",
)


@pytest.mark.parametrize("where", [BEFORE_ITS_NEWS, AFTER_ITS_NEWS], ids=["before", "after"])
def test_the_end_of_a_run_is_told_although_the_worker_is_killed_beside_it(arena, tmp_path, where):
    ask(arena, {"command": program(arena, KEEPS), "on": "completed"})
    arena.queue("a", "Quick")
    killed = arena.start("--until-idle", package=mutant(tmp_path, *where))
    assert killed.wait(LIMIT) == -signal.SIGKILL
    assert arena.names("Completed") == []
    arena.work()
    assert arena.names("Completed") == ["a"]
    eventually(lambda: not outbox.names(arena.workspace))
    told = heard(arena)
    assert 1 <= len(told) <= 2
    assert {(n["event"], n["run"], n["id"]) for n in told} == {("completed", "a", told[0]["id"])}


def test_what_a_dead_courier_left_is_delivered_by_the_next_workers_one(arena):
    ask(
        arena, {"command": program(arena, f"{KEEPS}\nif not os.path.exists(heard + '.go'): time.sleep(1000)")}
    )
    arena.queue("a", "Hopeless")
    worker = arena.start()
    eventually(lambda: heard(arena))
    (deliverer,) = couriers_of(arena)
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(deliverer, signal.SIGKILL)
    eventually(lambda: is_gone(deliverer))
    (arena.notes / "listens.go").touch()
    assert len(outbox.names(arena.workspace)) == 1
    arena.work()
    eventually(lambda: not outbox.names(arena.workspace))
    assert [n["id"] for n in heard(arena)] == [heard(arena)[0]["id"]] * 2, "twice, under one id"


def test_a_server_that_hangs_holds_up_neither_the_worker_nor_anybody_else(arena):
    with listeners.silence() as url:
        ask(
            arena, {"callback": url, "on": "completed"}, {"command": program(arena, KEEPS), "on": "completed"}
        )
        arena.queue("a", "Quick")
        arena.queue("b", "Quick")
        worker = arena.start()
        eventually(lambda: arena.names("Completed") == ["a", "b"])
        eventually(lambda: [n["run"] for n in heard(arena)] == ["a", "b"])
        (deliverer,) = couriers_of(arena)
        children = psutil.Process(worker.pid).children()
        (host,) = (child.pid for child in children if child.pid != deliverer)
        os.kill(host, signal.SIGKILL)
        arena.queue("c", "Quick")
        eventually(lambda: [n["run"] for n in heard(arena)] == ["a", "b", "c"])
        assert not is_gone(deliverer), "it is nothing that a dead host left"
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        arena.ended(worker)
        assert time.monotonic() - began < 10
        assert len(outbox.names(arena.workspace)) == 3


def test_a_delivery_that_takes_too_long_is_stopped_with_all_that_it_started(arena, monkeypatch):
    monkeypatch.setattr(courier, "LIMIT", 0.7)
    ask(arena, {"command": program(arena, "open(heard, 'w').write(str(os.getpid()))\ntime.sleep(1000)")})
    found = notices.try_out(arena.workspace)
    assert found.recipients[0].error == "it took longer than 0.7 s and was stopped"
    pid = int((arena.notes / "listens").read_text())
    eventually(lambda: is_gone(pid))


def test_a_command_that_fails_is_tried_again_after_growing_pauses_and_then_left_to_the_next_courier(
    arena, monkeypatch
):
    monkeypatch.setattr(courier, "PAUSES", (0.01, 0.05))
    ask(arena, {"command": program(arena, f"{KEEPS}\nprint('no paper')\nsys.exit(3)")})
    put(arena, 2)
    said = deliver(arena)
    assert [line.partition(": ")[2] for line in said] == [
        f"failed: {os.path.basename(sys.executable)} ended with exit code 3: no paper. Tried again {when}."
        for when in ("in 0.01 s", "in 0.05 s", "later")
    ]
    assert len(heard(arena)) == 3, "the second message waits behind the first"
    assert len(outbox.names(arena.workspace)) == 2
    ask(arena, {"command": program(arena, KEEPS, "mended")})
    assert all("delivered" in line for line in deliver(arena))
    assert [n["id"] for n in heard(arena, "mended")] == [some_news(n).id for n in range(2)]


def test_who_fails_holds_up_nobody_else_and_a_message_that_is_too_old_is_given_up(arena, monkeypatch):
    monkeypatch.setattr(courier, "PAUSES", ())
    ask(arena, {"command": "false"}, {"command": program(arena, KEEPS)})
    put(arena, 3, key="notify[0]")
    put(arena, 3, key="notify[1]")
    deliver(arena)
    assert len(heard(arena)) == 3
    assert len(outbox.names(arena.workspace)) == 3
    put(arena, 3, at=datetime.now(UTC) - timedelta(days=4))
    deliver(arena)
    assert outbox.names(arena.workspace) == []
    assert len(outbox.undelivered(arena.workspace)) == 3


def test_what_nobody_asks_for_any_more_is_dropped_and_what_is_no_message_put_aside(arena):
    put(arena, 1, key="notify[7]")
    (arena.root / "Misc" / "outbox" / "strange.json").write_text("{")
    (said,) = deliver(arena)
    assert "dropped" in said
    assert outbox.names(arena.workspace) == []
    assert outbox.undelivered(arena.workspace) == ["strange.json"]


def test_of_two_couriers_one_delivers(arena):
    ask(arena, {"command": program(arena, KEEPS)})
    put(arena, 2)
    with outbox.only_courier(arena.workspace) as mine:
        assert mine
        assert deliver(arena) == []
    assert len(deliver(arena)) == 2


def test_a_redirection_is_an_error_and_not_a_get_without_a_body(arena):
    with listeners.web() as server:
        server.code = 302
        ask(arena, {"callback": server.url, "on": "completed"})
        found = notices.try_out(arena.workspace)
    assert "302" in found.recipients[0].error
    assert len(server.posted) == 1


def test_many_messages_in_a_moment_start_one_courier_and_all_arrive(arena):
    ask(arena, {"command": program(arena, KEEPS)})
    herald = Herald(arena.workspace, "lab3", pytest.fail)
    recipient = Recipient("workspace", "notify[0]", "command", "")
    for number in range(20):
        herald._put(some_news(number), [recipient])
        assert len(herald._couriers) <= 1
    eventually(lambda: herald.glance() or not outbox.names(arena.workspace))
    herald.close(patient=True)
    assert {n["id"] for n in heard(arena)} == {some_news(number).id for number in range(20)}


# -- once for all ------------------------------------------------------------------------------------------


def test_two_workers_tell_once_that_the_queue_is_empty_and_again_when_it_is_empty_again(arena):
    ask(arena, {"command": program(arena, KEEPS), "on": "queue_empty"})
    for name in "ab":
        arena.queue(name, "Quick")
    both = [arena.start("--until-idle"), arena.start("--until-idle")]
    for worker in both:
        arena.ended(worker)
    eventually(lambda: heard(arena))
    assert not outbox.names(arena.workspace)
    assert [n["counts"] for n in heard(arena)] == [{"completed": 2, "failed": 0}]
    arena.work()
    assert len(heard(arena)) == 1, "a worker that found nothing to do has nothing to tell"
    arena.queue("c", "Quick")
    arena.work()
    assert [n["counts"]["completed"] for n in heard(arena)] == [2, 3]


def test_a_worker_that_is_stopped_when_nothing_is_left_says_so_and_one_that_leaves_work_does_not(arena):
    ask(arena, {"command": program(arena, KEEPS), "on": "queue_empty"})
    arena.queue("a", "Quick")
    worker = arena.start()
    eventually(lambda: arena.names("Completed"))
    arena.queue("b", "Gated")
    eventually(lambda: arena.names("Running"))
    worker.terminate()
    arena.ended(worker)
    assert not heard(arena)
    assert not outbox.names(arena.workspace)
    arena.queue("c", "Quick")
    assert cancel(arena.workspace, Choice(("b",))).runs == ["b"]
    worker = arena.start()
    eventually(lambda: len(arena.names("Completed")) == 2)
    worker.terminate()
    arena.ended(worker)
    eventually(lambda: heard(arena))
    assert [n["counts"] for n in heard(arena)] == [{"completed": 2, "failed": 1}]


def test_a_callback_is_told_of_a_run_that_was_cancelled_while_it_waited(arena):
    with listeners.web() as server:
        arena.queue("a", "Quick", callbackUrl=server.url)
        cancel(arena.workspace, Choice(("a",)))
        eventually(lambda: server.posted)
        eventually(lambda: not outbox.names(arena.workspace))
    assert [p["json"]["outcome"] for p in server.posted] == ["cancelled"]


def test_a_worker_that_stays_waits_a_little_before_it_says_that_the_queue_is_empty(arena, monkeypatch):
    ask(arena, {"command": program(arena, KEEPS), "on": "queue_empty"})
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    herald = Herald(arena.workspace, "lab3", print)
    monkeypatch.setattr(herald, "_send_courier", lambda: None)
    herald._worked = True
    empty = [True]
    for seconds, told in ((0, 0), (8, 0), (4, 1), (60, 1)):
        clock[0] += seconds
        herald.at_rest(lambda: empty[0], leaving=False)
        assert len(outbox.names(arena.workspace)) == told, seconds


def test_runs_that_wait_while_no_worker_is_alive_are_told_of_once(arena, monkeypatch):
    ask(arena, {"command": "true", "on": "stuck"})
    arena.queue("a", "Quick")
    clock = [0.0]
    herald = Herald(arena.workspace, "lab3", print)
    monkeypatch.setattr(herald, "_send_courier", lambda: None)
    lookout = Lookout(arena.workspace, herald, clock=lambda: clock[0])
    for _ in range(int(2 * AFTER / EVERY)):
        lookout.look()
        assert len(outbox.names(arena.workspace)) == (clock[0] >= AFTER), clock
        clock[0] += EVERY
    (name,) = outbox.names(arena.workspace)
    assert outbox.read(arena.workspace, name).news.title == "workspace: 1 run waits and no worker is alive"


def test_a_run_that_seems_to_stand_still_is_told_of_once_for_each_start(arena, monkeypatch):
    ask(arena, {"command": "true", "on": "stuck"})
    arena.queue("a", "Gated")
    worker = arena.start()
    eventually(lambda: arena.events("a", "task_started"))
    herald = Herald(arena.workspace, "lab3", print)
    monkeypatch.setattr(herald, "_send_courier", lambda: None)
    for _ in range(2):
        herald.stuck("a", "its log and its progress are silent for 5 times as long as usual")
    (name,) = outbox.names(arena.workspace)
    news = outbox.read(arena.workspace, name).news
    assert (news.event, news.run, news.task, news.tries) == (NewsKind.STUCK, "a", "gated", 1)
    assert "silent" in news.title
    worker.kill()


def test_nobody_is_told_of_runs_that_no_worker_would_take(arena, monkeypatch):
    ask(arena, {"command": "true", "on": "stuck"})
    arena.queue("first", "Quick", maxAttempts=1)
    arena.queue("then", "Quick", after="first")
    hold(arena.workspace, Choice(("first",)))
    clock = [0.0]
    herald = Herald(arena.workspace, "lab3", print)
    monkeypatch.setattr(herald, "_send_courier", lambda: None)
    lookout = Lookout(arena.workspace, herald, clock=lambda: clock[0])
    for released, told in ((False, 0), (True, 1)):
        if released:
            release(arena.workspace, Choice(("first",)))
        for _ in range(int(2 * AFTER / EVERY)):
            lookout.look()
            clock[0] += EVERY
        assert len(outbox.names(arena.workspace)) == told
    (name,) = outbox.names(arena.workspace)
    assert outbox.read(arena.workspace, name).news.title == "workspace: 2 runs wait and no worker is alive"


def test_who_watches_tells_of_a_run_that_has_gone_silent(arena, monkeypatch):
    ask(arena, {"command": "true", "on": "stuck"})
    gate = arena.notes / "gate"
    gate.touch()
    arena.queue("usual", "Gated")
    arena.work()
    gate.unlink()
    arena.queue("a", "Gated")
    worker = arena.start()
    eventually(lambda: arena.events("a", "task_started"))
    herald = Herald(arena.workspace, "lab3", print)
    monkeypatch.setattr(herald, "_send_courier", lambda: None)
    minutes = itertools.count(step=EVERY)
    lookout = Lookout(arena.workspace, herald, SilentRuns(arena.workspace), minutes.__next__)
    lookout.look()
    assert outbox.names(arena.workspace) == []
    monkeypatch.setattr("job_orchestration.actions.status._SILENT_AT_LEAST", 0.0)
    monkeypatch.setattr("job_orchestration.actions.status._SILENT_AFTER", 0.0)
    eventually(lambda: lookout.look() or outbox.names(arena.workspace))
    (name,) = outbox.names(arena.workspace)
    news = outbox.read(arena.workspace, name).news
    assert (news.event, news.run, news.task) == (NewsKind.STUCK, "a", "gated")
    worker.kill()


def test_an_empty_queue_is_not_told_while_a_search_goes_on(arena):
    ask(arena, {"command": "true", "on": "queue_empty"})
    script = """
        import sys
        from job_orchestration.engine import herald, orders, searching, worker
        from job_orchestration.files import workspace
        opens = [True, True]
        searching.Searches.advance_idly = lambda self: False
        searching.Searches.advance = lambda self: bool(opens and opens.pop())
        herald.Herald.at_rest = lambda self, is_empty, leaving: print(is_empty())
        worker.Worker(workspace.locate(sys.argv[1]), orders.Orders(until_idle=True), print).work()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(arena.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.split() == ["False", "True", "True"], "the last when it leaves"


# -- what is refused, and the plugins ----------------------------------------------------------------------


REFUSED = {
    "program": ({"command": "no-such-program --now"}, "there is no program 'no-such-program' here"),
    "plugin": ({"pager": "555"}, "there is no notifier 'pager'. Choose from: to, command, callback"),
    "scheme": ({"callback": "ftp://example.org"}, "this is not an address"),
}
REFUSED_BY_APPRISE = {
    "service": ("nonsense://x", "apprise knows no service nonsense://"),
    "incomplete": ("mailto://", "the address mailto://… lacks something"),
    "bare": ("beep", "this is no address"),
}


@pytest.mark.parametrize("cases", [REFUSED, pytest.param(REFUSED_BY_APPRISE, marks=needs_apprise)])
def test_somebody_who_can_never_be_told_is_found_when_the_config_is_readied(arena, cases):
    for name, (entry, _) in cases.items():
        arena.drop(name, "Quick", notify=[entry])
    refused = arena.ready().refused
    for name, (_, told) in cases.items():
        (problem,) = refused[f"{name}.yaml"]
        assert told in str(problem)
        assert problem.key == "notify[0]"
        assert problem.line > 0


def test_a_missing_extra_is_told_with_the_way_to_install_it(arena, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    arena.drop("a", "Quick", notify="mailto://me:${WORD}@example.org")
    monkeypatch.setenv("WORD", "sesame77")
    (problem,) = arena.ready().refused["a.yaml"]
    assert "pip install 'job-orchestration[notify]'" in str(problem)


def test_a_password_in_a_config_and_a_variable_that_is_not_set_are_warned_of(arena, monkeypatch):
    monkeypatch.delenv("WORD", raising=False)
    arena.drop(
        "a", "Quick", callbackUrl="http://me:sesame77@127.0.0.1:9/", notify={"command": "true ${WORD}"}
    )
    (queued,) = arena.ready().queued
    told = " ".join(map(str, queued.warnings))
    assert "a password stands here" in told
    assert "WORD is not set here" in told
    assert "sesame77" not in told


def test_a_plugin_tells_too(arena, monkeypatch, tmp_path):
    site = tmp_path / "site"
    about = site / "pager-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[job_orchestration.notifiers]\npager = pager:Pager\n")
    (site / "pager.py").write_text(
        "class Pager:\n"
        "    def __init__(self, target): self.target = target\n"
        "    def tell(self, news): open(self.target, 'w').write(news.title)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    ask(arena, {"pager": str(tmp_path / "paged")})
    assert notices.try_out(arena.workspace).recipients[0].error is None
    assert "a test of" in (tmp_path / "paged").read_text()
