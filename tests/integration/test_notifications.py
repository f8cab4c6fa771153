"""Test notifications: through real servers, commands and workers, some of which are killed."""

from __future__ import annotations

import base64
import hmac
import importlib.util
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from job_orchestration.commands import notify
from job_orchestration.commands.cancel import cancel
from job_orchestration.commands.hold import hold, release
from job_orchestration.commands.selection import Selection
from job_orchestration.commands.status import SilentRuns
from job_orchestration.config.notification_settings import NotificationEvent, Recipient
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.notifications import delivery, http_callback, outbox
from job_orchestration.notifications import publisher as publisher_module
from job_orchestration.notifications.notification import Notification
from job_orchestration.notifications.publisher import Publisher
from job_orchestration.queue.stall_monitor import AFTER, EVERY, StallMonitor
from job_orchestration.runs import token
from tests.integration import listeners
from tests.integration.harness import LIMIT, Sandbox, eventually, is_gone, mutant
from tests.integration.runs import taken

pytestmark = pytest.mark.slow

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
            raise ValueError("as the test asked")


    class Hopeless(Quick):
        def run(self):
            raise PermanentError("never")


    class Gated(Quick):
        def run(self):
            while not Path(self.config["notes"], "gate").exists():
                time.sleep(0.01)
"""
A_MESSAGE = Notification(
    "1",
    NotificationEvent.COMPLETED,
    "2026-11-27T10:00:00+00:00",
    "a completed",
    "/data/experiments",
    run="a",
    config="a",
)
needs_apprise = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="the extra [notify] is not installed"
)


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    stop_dispatchers(sandbox)
    sandbox.close()


def dispatchers(sandbox):
    """Return the dispatchers of this workspace with the forks of their deliveries: process id → parent."""
    found = {}
    for pid in sandbox.alive():
        with suppress(OSError):
            if b"--deliver" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def dispatchers_of(sandbox):
    """Return the dispatchers, without their forks."""
    found = dispatchers(sandbox)
    return [pid for pid, parent in found.items() if parent not in found]


def stop_dispatchers(sandbox):
    for pid in dispatchers(sandbox):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def ask(sandbox, *entries, **more):
    """Write `workspace.yaml`."""
    (sandbox.root / "workspace.yaml").write_bytes(to_yaml({"notify": list(entries), **more}))


def program(sandbox, body, name="listens"):
    """Return a command that runs Python code with the notification in `notification`."""
    path = sandbox.notes / f"{name}.py"
    heard = sandbox.notes / name
    path.write_text(
        f"import json, os, sys, time\nnotification = json.load(sys.stdin)\nheard = {str(heard)!r}\n{body}\n"
    )
    return shlex.join([sys.executable, str(path)])


KEEPS = (
    "with open(heard, 'a') as file: file.write(json.dumps({**notification, 'env': dict(os.environ)}) + '\\n')"
)


def heard(sandbox, name="listens"):
    """Return the notifications that a command has written; an incomplete line is left out."""
    path = sandbox.notes / name
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def some_notification(number=0, at=None):
    at = at or datetime.now(UTC) + timedelta(microseconds=number)
    return Notification(
        f"{number:016x}", NotificationEvent.GAVE_UP, at.isoformat(), "a failed", "/data/ws", run=None
    )


def put(sandbox, count=1, key="notify[0]", at=None):
    recipient = Recipient("workspace", key, "command", "")
    for number in range(count):
        outbox.put(sandbox.workspace, some_notification(number, at), [recipient])


def deliver(sandbox):
    """Deliver the outbox in this process; return the lines that were printed."""
    said = []
    delivery.Dispatcher(sandbox.workspace, said.append).deliver()
    return said


# -- events and messages ----------------------------------------------------------------------------------


@pytest.mark.seed_fault("B-JO-29")
def test_completed_failed_gave_up_and_queue_empty_are_sent(sandbox):
    ask(
        sandbox,
        {"command": program(sandbox, KEEPS), "on": ["completed", "failed", "gave_up", "queue_empty"]},
        dashboardUrl="http://lab3:8000/{run}",
    )
    sandbox.queue("a", "Quick")
    sandbox.queue("b", "Fails", maxAttempts=2)
    sandbox.queue("c", "Quick", notify=None)
    said = sandbox.work()
    assert "could not be queued" not in said
    received = heard(sandbox)
    assert [(n["event"], n["run"]) for n in received] == [
        ("completed", "a"),
        ("failed", "b"),
        ("gave_up", "b"),
        ("queue_empty", None),
    ]
    completed, failed, gave_up, empty = received
    assert completed["output"] == str(sandbox.output("a"))
    assert completed["dashboard"] == "http://lab3:8000/a"
    assert "quick as a flash" in completed["log"]
    assert completed["elapsed_s"] < LIMIT
    assert failed["title"] == "b: task fails failed and will be tried again"
    assert (failed["task"], failed["tries"], failed["attempt"], failed["outcome"]) == ("fails", 1, 1, "error")
    assert gave_up["reason"] == "task fails failed after 2 tries: ValueError: as the test asked"
    assert any("here it comes" in line for line in gave_up["log"])
    assert empty["counts"] == {"completed": 2, "failed": 1}
    assert completed["env"]["NOTIFICATION_EVENT"] == "completed"
    assert completed["env"]["NOTIFICATION_RUN"] == "a"
    assert len({n["id"] for n in received}) == 4
    assert outbox.names(sandbox.workspace) == []


def test_a_run_without_recipients_creates_no_outbox(sandbox):
    sandbox.queue("a", "Quick")
    sandbox.work()
    assert not (sandbox.root / "Misc" / "outbox").exists()


def test_a_callback_gets_one_json_object_with_the_job_manager_fields_for_each_step(sandbox):
    with listeners.web() as server:
        url = f"{server.url}/jobs/{{name}}"
        sandbox.queue("a", "Quick", callbackUrl=url)
        sandbox.queue("b", "Hopeless", callbackUrl=url)
        sandbox.work()
        eventually(lambda: len(server.posted) == 6)
        posted = {name: [p["json"] for p in server.posted if p["path"] == f"/jobs/{name}"] for name in "ab"}
    assert [p["event"] for p in posted["a"]] == ["accepted", "started", "completed"]
    assert [(p["status"], p["status_code"]) for p in posted["b"]] == [
        ("Accepted", 202),
        ("Accepted", 202),
        ("Failed", 500),
    ]
    assert [p["log"] for p in posted["b"][:2]] == [[], []]
    first, second = (posted[name][-1] for name in "ab")
    assert (first["jobname"], first["status"], first["status_code"]) == ("a", "Completed", 200)
    assert (first["message"], first["progress"], first["links"]) == ("a completed", 1.0, {"self": "/jobs/a"})
    assert first["run_time"] == first["elapsed_s"] > 0
    assert second["message"] == second["reason"]
    assert (second["jobname"], second["status"], second["status_code"]) == ("b", "Failed", 500)
    assert second["reason"] == "task hopeless: PermanentError: never"
    assert server.posted[0]["headers"]["Content-Type"].startswith("application/json")
    assert server.posted[0]["headers"]["Idempotency-Key"] == server.posted[0]["json"]["id"]
    assert "X-Signature" not in server.posted[0]["headers"]


def test_a_callback_is_signed_if_there_is_a_secret_and_says_what_is_done_if_asked(sandbox, monkeypatch):
    monkeypatch.setenv("CALLBACK_SECRET", "sesame77")
    monkeypatch.setattr(publisher_module, "_PROGRESS_EVERY", 0.0)
    with listeners.web() as server:
        sandbox.queue("a", "Quick", callbackUrl=server.url, callbackProgress=True)
        claim = taken(sandbox.workspace, token.scan(sandbox.workspace.to_run)[0])
        publisher = Publisher(sandbox.workspace, "lab3", print)
        for done in (1.0, 1.0, 3.0):
            publisher.report_progress(claim, (done, 4.0))
        publisher.report_progress(claim, (1.0, 0.0))
        claim.release()
        eventually(lambda: not outbox.names(sandbox.workspace))
    values = [p["json"]["progress"] for p in server.posted if p["json"]["event"] == "progress"]
    assert values[-1] == 0.75
    assert values in ([0.25, 0.75], [0.75]), "what was not sent in time is superseded"
    for posted in server.posted:
        expected = hmac.new(b"sesame77", posted["data"], "sha256").hexdigest()
        assert posted["headers"]["X-Signature"] == f"sha256={expected}"


def test_a_callback_that_may_only_be_public_never_connects_to_this_machine(sandbox):
    with listeners.web() as server:
        recipient = Recipient("config", "callbackUrl", "public_callback", server.url)
        error = delivery.deliver_now(recipient, A_MESSAGE)
        named = replace(recipient, target=server.url.replace("127.0.0.1", "localhost"))
        assert delivery.deliver_now(named, A_MESSAGE) == error
        assert delivery.deliver_now(replace(recipient, kind="callback"), A_MESSAGE) is None
    assert error.startswith("This address is not public")
    assert len(server.posted) == 1


def test_a_public_callback_connects_to_the_address_that_was_checked_whatever_the_name_means_later(
    monkeypatch,
):
    answers = [("198.51.100.7", 80), ("127.0.0.1", 80)]
    asked = []
    really = socket.getaddrinfo

    def look_up(hostname, *rest, **more):
        if hostname == "127.0.0.1":
            return really(hostname, *rest, **more)
        asked.append(hostname)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[len(asked) - 1])]

    with listeners.web() as server:
        port = server.server_port
        connect = socket.create_connection
        connected = []

        def connection(address, timeout):
            connected.append(address)
            return connect(("127.0.0.1", port), timeout)

        monkeypatch.setattr(http_callback, "is_public", lambda address: address == "198.51.100.7")
        monkeypatch.setattr(http_callback.socket, "getaddrinfo", look_up)
        monkeypatch.setattr(http_callback.socket, "create_connection", connection)
        http_callback.PublicCallbackNotifier("http://rebound.example/x").send(A_MESSAGE)
    assert (asked, connected) == (["rebound.example"], [("198.51.100.7", 80)])
    assert server.posted[0]["headers"]["Host"] == "rebound.example"


@needs_apprise
def test_a_mail_arrives_and_its_password_is_nowhere_but_in_workspace_yaml(sandbox):
    with listeners.mail() as server:
        to = f"mailto://me:sesame77@{server.address}/?mode=insecure&from=me@example.org&to=you@example.org"
        ask(sandbox, {"to": to, "on": "completed"})
        sandbox.queue("a", "Quick")
        sandbox.work()
        eventually(lambda: server.mails)
        eventually(lambda: not outbox.names(sandbox.workspace))
    assert "Subject: a completed" in server.mails[0]
    assert "quick as a flash" in base64_or_plain(server.mails[0])
    assert base64.b64decode(server.logins[0].split()[-1]) == b"\0me\0sesame77"
    written = [p for p in sandbox.root.rglob("*") if p.is_file() and b"sesame77" in p.read_bytes()]
    assert written == [sandbox.root / "workspace.yaml"]


def base64_or_plain(mail):
    """What a mail says, however its parts are encoded."""
    import email

    parts = email.message_from_string(mail).walk()
    return "".join((p.get_payload(decode=True) or b"").decode("utf-8", "replace") for p in parts)


def test_the_error_of_a_delivery_is_shown_and_logged_without_secrets(sandbox, monkeypatch):
    monkeypatch.setenv("WORD", "sesame77")
    monkeypatch.setattr(delivery, "PAUSES", ())
    ask(sandbox, {"command": [sys.executable, "-c", "import sys; sys.exit(f'no {sys.argv}')", "${WORD}"]})
    (tried,) = notify.try_out(sandbox.workspace).recipients
    assert "exit code 1: no ['-c', '****']" in tried.error
    put(sandbox)
    (said,) = deliver(sandbox)
    logged = Path(outbox.log_path(sandbox.workspace)).read_text()
    assert "****" in said
    assert "sesame77" not in said + logged


# -- crashes and failures ---------------------------------------------------------------------------------

PUT = "            self._put(self._notification_of("
BEFORE_ITS_NOTIFICATION = (
    "notifications/publisher.py",
    f"        if interested:\n{PUT}",
    f"        if interested:\n            os.kill(os.getpid(), 9)\n{PUT}",
)
AFTER_ITS_NOTIFICATION = (
    "worker/claimed_run.py",
    "        claim.move(self._workspace.folders[place]",
    "        os.kill(os.getpid(), 9); claim.move(self._workspace.folders[place]",
)


@pytest.mark.parametrize("where", [BEFORE_ITS_NOTIFICATION, AFTER_ITS_NOTIFICATION], ids=["before", "after"])
def test_completed_is_sent_even_if_the_worker_is_killed_before_or_after_publishing(sandbox, tmp_path, where):
    ask(sandbox, {"command": program(sandbox, KEEPS), "on": "completed"})
    sandbox.queue("a", "Quick")
    killed = sandbox.start("--until-idle", package=mutant(tmp_path, *where))
    assert killed.wait(LIMIT) == -signal.SIGKILL
    assert sandbox.names("Completed") == []
    sandbox.work()
    assert sandbox.names("Completed") == ["a"]
    eventually(lambda: not outbox.names(sandbox.workspace))
    received = heard(sandbox)
    assert 1 <= len(received) <= 2
    assert {(n["event"], n["run"], n["id"]) for n in received} == {("completed", "a", received[0]["id"])}


def test_messages_of_a_killed_dispatcher_are_delivered_by_the_next_one(sandbox):
    ask(
        sandbox,
        {"command": program(sandbox, f"{KEEPS}\nif not os.path.exists(heard + '.go'): time.sleep(1000)")},
    )
    sandbox.queue("a", "Hopeless")
    worker = sandbox.start()
    eventually(lambda: heard(sandbox))
    (dispatcher,) = dispatchers_of(sandbox)
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(dispatcher, signal.SIGKILL)
    eventually(lambda: is_gone(dispatcher))
    (sandbox.notes / "listens.go").touch()
    assert len(outbox.names(sandbox.workspace)) == 1
    sandbox.work()
    eventually(lambda: not outbox.names(sandbox.workspace))
    assert [n["id"] for n in heard(sandbox)] == [heard(sandbox)[0]["id"]] * 2, "twice, under one id"


def test_a_hanging_server_delays_neither_the_worker_nor_other_recipients(sandbox):
    with listeners.silence() as url:
        ask(
            sandbox,
            {"callback": url, "on": "completed"},
            {"command": program(sandbox, KEEPS), "on": "completed"},
        )
        sandbox.queue("a", "Quick")
        sandbox.queue("b", "Quick")
        worker = sandbox.start()
        eventually(lambda: sandbox.names("Completed") == ["a", "b"])
        eventually(lambda: [n["run"] for n in heard(sandbox)] == ["a", "b"])
        (dispatcher,) = dispatchers_of(sandbox)
        children = psutil.Process(worker.pid).children()
        (fork_server,) = (child.pid for child in children if child.pid != dispatcher)
        os.kill(fork_server, signal.SIGKILL)
        sandbox.queue("c", "Quick")
        eventually(lambda: [n["run"] for n in heard(sandbox)] == ["a", "b", "c"])
        assert not is_gone(dispatcher), "it is not reaped with the processes of the dead fork server"
        worker.send_signal(signal.SIGTERM)
        began = time.monotonic()
        sandbox.ended(worker)
        assert time.monotonic() - began < 10
        assert len(outbox.names(sandbox.workspace)) == 3


def test_a_delivery_over_its_time_limit_is_killed_with_its_descendants(sandbox, monkeypatch):
    monkeypatch.setattr(delivery, "LIMIT", 0.7)
    ask(sandbox, {"command": program(sandbox, "open(heard, 'w').write(str(os.getpid()))\ntime.sleep(1000)")})
    found = notify.try_out(sandbox.workspace)
    assert found.recipients[0].error == "it took longer than 0.7 s and was stopped"
    pid = int((sandbox.notes / "listens").read_text())
    eventually(lambda: is_gone(pid))


def test_a_failing_command_is_tried_again_after_growing_pauses_and_then_by_the_next_dispatcher(
    sandbox, monkeypatch
):
    monkeypatch.setattr(delivery, "PAUSES", (0.1, 0.2))
    ask(sandbox, {"command": program(sandbox, f"{KEEPS}\nprint('no paper')\nsys.exit(3)")})
    put(sandbox, 2)
    said = deliver(sandbox)
    assert [line.partition(": ")[2] for line in said] == [
        f"failed: {os.path.basename(sys.executable)} ended with exit code 3: no paper. Tried again {when}."
        for when in ("in 0.1 s", "in 0.2 s", "later")
    ]
    assert len(heard(sandbox)) == 3, "the second message waits behind the first"
    assert len(outbox.names(sandbox.workspace)) == 2
    ask(sandbox, {"command": program(sandbox, KEEPS, "mended")})
    assert all("delivered" in line for line in deliver(sandbox))
    assert [n["id"] for n in heard(sandbox, "mended")] == [some_notification(n).id for n in range(2)]


def test_a_failing_recipient_delays_no_other(sandbox, monkeypatch):
    monkeypatch.setattr(delivery, "PAUSES", ())
    ask(sandbox, {"command": "false"}, {"command": program(sandbox, KEEPS)})
    put(sandbox, 3, key="notify[0]")
    put(sandbox, 3, key="notify[1]")
    deliver(sandbox)
    assert len(heard(sandbox)) == 3
    assert len(outbox.names(sandbox.workspace)) == 3


def message_files(sandbox):
    return sorted((sandbox.root / "Misc" / "outbox").glob("*.json"))


def tried_before(sandbox, *, days, rounds):
    """Have the first message look as if it had been tried in vain for some days."""
    path = next(p for p in message_files(sandbox) if "rounds" in json.loads(p.read_text()))
    then = time.time() - 86_400 * days
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rounds": rounds, "first_tried_at": then}))


def test_a_message_is_given_up_three_days_after_its_first_try_and_never_untried(sandbox, monkeypatch, cli):
    monkeypatch.setattr(delivery, "PAUSES", ())
    ask(sandbox, {"command": "false"})
    put(sandbox, 3, at=datetime.now(UTC) - timedelta(days=400))
    (said,) = deliver(sandbox)
    assert "Tried again later" in said, "all machines were off: nothing was tried before"
    assert len(message_files(sandbox)) == 3

    for days, rounds in ((2.9, 1000), (4000, delivery.LEAST_ROUNDS - 2)):
        tried_before(sandbox, days=days, rounds=rounds)  # too early; a clock that is years ahead
        assert "Tried again later" in deliver(sandbox)[0]
    tried_before(sandbox, days=3.1, rounds=1000)
    with monkeypatch.context() as ahead:
        ahead.setattr(outbox, "file_clock", lambda _: time.time() - 86_400)  # the server's clock decides
        assert "Tried again later" in deliver(sandbox)[0]
    assert len(message_files(sandbox)) == 3

    said = deliver(sandbox)
    assert [line.partition("Given up")[1] for line in said] == ["Given up"] * 3, "each after a try of its own"
    assert message_files(sandbox) == []
    assert len(outbox.undelivered(sandbox.workspace)) == 3
    where = ("--workspace", str(sandbox.root))
    assert "3 messages were not delivered; see why with: notify." in cli("status", *where).stdout
    assert json.loads(cli("status", "--json", *where).stdout)["undelivered"] == 3
    assert "Not delivered and given up: 3" in cli("doctor", *where).stdout


def test_messages_of_a_run_that_cannot_be_read_wait_and_the_others_are_delivered(sandbox, monkeypatch):
    ask(sandbox, {"command": program(sandbox, KEEPS)})
    put(sandbox, 1)
    unreadable = some_notification(7)
    outbox.put(sandbox.workspace, unreadable, [Recipient("config", "notify[0]", "command", "")])
    real = delivery.Dispatcher._recipient

    def fails(self, message, defaults):
        if message.source == "config":
            raise PermissionError(13, "Permission denied")
        return real(self, message, defaults)

    monkeypatch.setattr(delivery.Dispatcher, "_recipient", fails)
    assert any("its run cannot be read" in line for line in deliver(sandbox))
    assert len(heard(sandbox)) == 1
    assert len(message_files(sandbox)) == 1


def test_a_message_without_recipient_is_dropped_and_an_invalid_file_is_moved_to_undelivered(sandbox):
    put(sandbox, 1, key="notify[7]")
    (sandbox.root / "Misc" / "outbox" / "strange.json").write_text("{")
    (said,) = deliver(sandbox)
    assert "dropped" in said
    assert outbox.names(sandbox.workspace) == []
    assert outbox.undelivered(sandbox.workspace) == ["strange.json"]


def test_only_one_of_two_dispatchers_delivers(sandbox):
    ask(sandbox, {"command": program(sandbox, KEEPS)})
    put(sandbox, 2)
    with outbox.only_dispatcher(sandbox.workspace) as mine:
        assert mine
        assert deliver(sandbox) == []
    assert len(deliver(sandbox)) == 2


def test_a_redirection_is_an_error_and_not_a_get_without_a_body(sandbox):
    with listeners.web() as server:
        server.code = 302
        ask(sandbox, {"callback": server.url, "on": "completed"})
        found = notify.try_out(sandbox.workspace)
    assert "302" in found.recipients[0].error
    assert len(server.posted) == 1


def test_many_messages_at_once_start_one_dispatcher_and_all_arrive(sandbox):
    ask(sandbox, {"command": program(sandbox, KEEPS)})
    publisher = Publisher(sandbox.workspace, "lab3", pytest.fail)
    recipient = Recipient("workspace", "notify[0]", "command", "")
    for number in range(20):
        publisher._put(some_notification(number), [recipient])
        assert len(publisher._dispatchers) <= 1
    eventually(lambda: publisher.start_dispatcher_if_due() or not outbox.names(sandbox.workspace))
    publisher.close(patient=True)
    assert {n["id"] for n in heard(sandbox)} == {some_notification(number).id for number in range(20)}


# -- sent only once ---------------------------------------------------------------------------------------


def test_two_workers_send_queue_empty_once_each_time_the_queue_becomes_empty(sandbox):
    ask(sandbox, {"command": program(sandbox, KEEPS), "on": "queue_empty"})
    for name in "ab":
        sandbox.queue(name, "Quick")
    both = [sandbox.start("--until-idle"), sandbox.start("--until-idle")]
    for worker in both:
        sandbox.ended(worker)
    eventually(lambda: heard(sandbox))
    assert not outbox.names(sandbox.workspace)
    assert [n["counts"] for n in heard(sandbox)] == [{"completed": 2, "failed": 0}]
    sandbox.work()
    assert len(heard(sandbox)) == 1, "a worker that did nothing sends nothing"
    sandbox.queue("c", "Quick")
    sandbox.work()
    assert [n["counts"]["completed"] for n in heard(sandbox)] == [2, 3]


def test_a_stopped_worker_sends_queue_empty_only_if_no_work_is_left(sandbox):
    ask(sandbox, {"command": program(sandbox, KEEPS), "on": "queue_empty"})
    sandbox.queue("a", "Quick")
    worker = sandbox.start()
    eventually(lambda: sandbox.names("Completed"))
    sandbox.queue("b", "Gated")
    eventually(lambda: sandbox.names("Running"))
    worker.terminate()
    sandbox.ended(worker)
    assert not heard(sandbox)
    assert not outbox.names(sandbox.workspace)
    sandbox.queue("c", "Quick")
    assert cancel(sandbox.workspace, Selection(("b",))).runs == ["b"]
    worker = sandbox.start()
    eventually(lambda: len(sandbox.names("Completed")) == 2)
    worker.terminate()
    sandbox.ended(worker)
    eventually(lambda: heard(sandbox))
    assert [n["counts"] for n in heard(sandbox)] == [{"completed": 2, "failed": 1}]


def test_a_callback_is_sent_for_a_run_that_is_cancelled_while_it_waits(sandbox):
    with listeners.web() as server:
        sandbox.queue("a", "Quick", callbackUrl=server.url)
        cancel(sandbox.workspace, Selection(("a",)))
        eventually(lambda: len(server.posted) == 2)
        eventually(lambda: not outbox.names(sandbox.workspace))
    assert [p["json"]["outcome"] for p in server.posted] == [None, "cancelled"]


def test_a_staying_worker_waits_a_little_before_it_sends_queue_empty(sandbox, monkeypatch):
    ask(sandbox, {"command": program(sandbox, KEEPS), "on": "queue_empty"})
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    publisher = Publisher(sandbox.workspace, "lab3", print)
    monkeypatch.setattr(publisher, "_start_dispatcher", lambda: None)
    publisher._worked = True
    empty = [True]
    for seconds, expected in ((0, 0), (8, 0), (4, 1), (60, 1)):
        clock[0] += seconds
        publisher.publish_if_queue_empty(lambda: empty[0], leaving=False)
        assert len(outbox.names(sandbox.workspace)) == expected, seconds


def test_waiting_runs_without_a_living_worker_are_reported_once(sandbox, monkeypatch):
    ask(sandbox, {"command": "true", "on": "stalled"})
    sandbox.queue("a", "Quick")
    clock = [0.0]
    publisher = Publisher(sandbox.workspace, "lab3", print)
    monkeypatch.setattr(publisher, "_start_dispatcher", lambda: None)
    stall_monitor = StallMonitor(sandbox.workspace, publisher, clock=lambda: clock[0])
    for _ in range(int(2 * AFTER / EVERY)):
        stall_monitor.check()
        assert len(outbox.names(sandbox.workspace)) == (clock[0] >= AFTER), clock
        clock[0] += EVERY
    (name,) = outbox.names(sandbox.workspace)
    assert (
        outbox.read(sandbox.workspace, name).notification.title
        == "workspace: 1 run waits and no worker is alive"
    )


def test_a_stalled_run_is_reported_once_for_each_start(sandbox, monkeypatch):
    ask(sandbox, {"command": "true", "on": "stalled"})
    sandbox.queue("a", "Gated")
    worker = sandbox.start()
    eventually(lambda: sandbox.events("a", "task_started"))
    publisher = Publisher(sandbox.workspace, "lab3", print)
    monkeypatch.setattr(publisher, "_start_dispatcher", lambda: None)
    for _ in range(2):
        publisher.report_stalled("a", "its log and its progress are silent for 5 times as long as usual")
    (name,) = outbox.names(sandbox.workspace)
    notification = outbox.read(sandbox.workspace, name).notification
    assert (notification.event, notification.run, notification.task, notification.tries) == (
        NotificationEvent.STALLED,
        "a",
        "gated",
        1,
    )
    assert "silent" in notification.title
    worker.kill()


def test_runs_that_no_worker_could_claim_are_not_reported(sandbox, monkeypatch):
    ask(sandbox, {"command": "true", "on": "stalled"})
    sandbox.queue("first", "Quick", maxAttempts=1)
    sandbox.queue("then", "Quick", after="first")
    hold(sandbox.workspace, Selection(("first",)))
    clock = [0.0]
    publisher = Publisher(sandbox.workspace, "lab3", print)
    monkeypatch.setattr(publisher, "_start_dispatcher", lambda: None)
    stall_monitor = StallMonitor(sandbox.workspace, publisher, clock=lambda: clock[0])
    for released, expected in ((False, 0), (True, 1)):
        if released:
            release(sandbox.workspace, Selection(("first",)))
        for _ in range(int(2 * AFTER / EVERY)):
            stall_monitor.check()
            clock[0] += EVERY
        assert len(outbox.names(sandbox.workspace)) == expected
    (name,) = outbox.names(sandbox.workspace)
    assert (
        outbox.read(sandbox.workspace, name).notification.title
        == "workspace: 2 runs wait and no worker is alive"
    )


def test_the_stall_monitor_reports_a_silent_run(sandbox, monkeypatch):
    ask(sandbox, {"command": "true", "on": "stalled"})
    gate = sandbox.notes / "gate"
    gate.touch()
    sandbox.queue("usual", "Gated")
    sandbox.work()
    gate.unlink()
    sandbox.queue("a", "Gated")
    worker = sandbox.start()
    eventually(lambda: sandbox.events("a", "task_started"))
    publisher = Publisher(sandbox.workspace, "lab3", print)
    monkeypatch.setattr(publisher, "_start_dispatcher", lambda: None)
    minutes = itertools.count(step=EVERY)
    stall_monitor = StallMonitor(
        sandbox.workspace, publisher, SilentRuns(sandbox.workspace), minutes.__next__
    )
    stall_monitor.check()
    assert outbox.names(sandbox.workspace) == []
    monkeypatch.setattr("job_orchestration.commands.status._SILENT_AT_LEAST", 0.0)
    monkeypatch.setattr("job_orchestration.commands.status._SILENT_AFTER", 0.0)
    eventually(lambda: stall_monitor.check() or outbox.names(sandbox.workspace))
    (name,) = outbox.names(sandbox.workspace)
    notification = outbox.read(sandbox.workspace, name).notification
    assert (notification.event, notification.run, notification.task) == (
        NotificationEvent.STALLED,
        "a",
        "gated",
    )
    worker.kill()


def test_queue_empty_is_not_sent_during_a_search(sandbox):
    ask(sandbox, {"command": "true", "on": "queue_empty"})
    script = """
        import sys
        from job_orchestration.notifications import publisher
        from job_orchestration.search import driver
        from job_orchestration.worker import options, worker
        from job_orchestration.workspace import layout
        opens = [True, True]
        driver.SearchDriver.advance_idly = lambda self: False
        driver.SearchDriver.advance = lambda self: bool(opens and opens.pop())
        publisher.Publisher.publish_if_queue_empty = lambda self, is_empty, leaving: print(is_empty())
        worker.Worker(layout.locate(sys.argv[1]), options.WorkerOptions(until_idle=True), print).work()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(sandbox.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.split() == ["False", "True", "True"], "the last when it leaves"


# -- invalid recipients and plugins -----------------------------------------------------------------------


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
def test_an_unreachable_recipient_is_a_problem_of_the_config_in_ready(sandbox, cases):
    for name, (entry, _) in cases.items():
        sandbox.drop(name, "Quick", notify=[entry])
    refused = sandbox.ready().refused
    for name, (_, expected) in cases.items():
        (problem,) = refused[f"{name}.yaml"]
        assert expected in str(problem)
        assert problem.key == "notify[0]"
        assert problem.line > 0


def test_a_missing_extra_is_reported_with_the_command_that_installs_it(sandbox, monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    sandbox.drop("a", "Quick", notify="mailto://me:${WORD}@example.org")
    monkeypatch.setenv("WORD", "sesame77")
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert "pip install 'job-orchestration[notify]'" in str(problem)


def test_ready_warns_of_a_password_in_a_config_and_of_an_unset_variable(sandbox, monkeypatch):
    monkeypatch.delenv("WORD", raising=False)
    sandbox.drop(
        "a", "Quick", callbackUrl="http://me:sesame77@127.0.0.1:9/", notify={"command": "true ${WORD}"}
    )
    (queued,) = sandbox.ready().queued
    warnings = " ".join(map(str, queued.warnings))
    assert "this holds a password" in warnings
    assert "WORD is not set here" in warnings
    assert "sesame77" not in warnings


def test_a_plugin_sends(sandbox, monkeypatch, tmp_path):
    site = tmp_path / "site"
    about = site / "pager-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[job_orchestration.notifiers]\npager = pager:Pager\n")
    (site / "pager.py").write_text(
        "class Pager:\n"
        "    def __init__(self, target): self.target = target\n"
        "    def send(self, notification): open(self.target, 'w').write(notification.title)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    ask(sandbox, {"pager": str(tmp_path / "paged")})
    assert notify.try_out(sandbox.workspace).recipients[0].error is None
    assert "a test of" in (tmp_path / "paged").read_text()
