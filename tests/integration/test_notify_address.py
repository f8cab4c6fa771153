"""Mail to the person who submitted: accepted, completed, failed, as text and HTML, through a real server."""

from __future__ import annotations

import email
import email.policy

import pytest

from job_orchestration.config import notification_settings
from job_orchestration.config.notification_settings import NotificationEvent, Recipient
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.diagnostics.errors import NotifierError
from job_orchestration.notifications import notifiers, outbox
from job_orchestration.notifications.notification import Notification
from tests.integration import listeners
from tests.integration.harness import Sandbox, eventually
from tests.integration.test_notifications import stop_dispatchers

TASKS = """
class Quick:
    def __init__(self, config):
        self.config = config

    def run(self):
        print("quick as a <flash>")


class Fails(Quick):
    def run(self):
        raise ValueError("no <data>")
"""


@pytest.fixture
def sandbox(tmp_path):
    """A workspace and a repository; what delivers its messages is ended."""
    sandbox = Sandbox(tmp_path, TASKS)
    yield sandbox
    stop_dispatchers(sandbox)
    sandbox.close()


def say_server(sandbox, url):
    (sandbox.root / "workspace.yaml").write_bytes(to_yaml({"mailServer": url}))


def read(text):
    """A mail's subject, addressee, text and HTML."""
    mail = email.message_from_string(text, policy=email.policy.default)
    text, markup = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    return str(mail["Subject"]), str(mail["To"]), text, markup


def test_a_person_gets_mail_when_a_run_was_accepted_and_has_ended(sandbox, monkeypatch):
    monkeypatch.setenv("MAIL_WORD", "sesame77")
    with listeners.mail() as server:
        say_server(sandbox, f"smtp://me:${{MAIL_WORD}}@{server.address}?from=jobs@example.org")
        for name, method in (("good", "Quick"), ("bad", "Fails")):
            sandbox.queue(name, method, notifyAddress="you@example.org", maxAttempts=1)
        sandbox.queue("without", "Quick")
        sandbox.work()
        eventually(lambda: len(server.mails) >= 4)
        eventually(lambda: not outbox.names(sandbox.workspace))
        mails = [read(mail) for mail in server.mails]
    found = {subject: (to, text, markup) for subject, to, text, markup in mails}
    assert len(found) == len(mails) == 4
    assert {to for to, _, _ in found.values()} == {"you@example.org"}
    _, text, markup = found["good completed"]
    assert "Your job has completed." in text
    assert "quick as a <flash>" in text
    assert "quick as a &lt;flash&gt;" in markup
    (failed,) = [subject for subject in found if subject.startswith("bad failed")]
    _, text, markup = found[failed]
    assert "ended without results" in text
    assert "no <data>" in text
    assert "no &lt;data&gt;" in markup
    assert sum("Your job was accepted" in text for _, text, _ in found.values()) == 2
    written = [p for p in sandbox.root.rglob("*") if p.is_file() and b"sesame77" in p.read_bytes()]
    assert written == []
    assert b"mailServer" not in (sandbox.root / "Output/good/config.yaml").read_bytes()


def test_what_keeps_mail_from_arriving_is_a_problem_of_the_config(sandbox):
    sandbox.drop("a", "Quick", notifyAddress="you@example.org")
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert (problem.key, problem.what) == ("notifyAddress", "there is no server to send mail with")
    sandbox.drop("a", "Quick", notifyAddress="you@example.org\r\nBcc: all@example.org")
    say_server(sandbox, "smtp://127.0.0.1:1")
    (problem,) = sandbox.ready().refused["a.yaml"]
    assert "is no address of mail" in problem.what
    say_server(sandbox, "http://127.0.0.1:1")
    sandbox.drop("a", "Quick", notifyAddress="you@example.org")
    assert "not the address of a mail server" in sandbox.ready().refused["a.yaml"][0].what


@pytest.mark.parametrize(
    "address",
    ["", "you", "@b", "a@", "a b@c.org", "a@b.org,c@d.org", "a@b.org\n", "<a@b.org>", 7, None, "a@b@c"],
)
def test_what_is_no_address_of_one_person_is_refused(address):
    assert notification_settings.fault_of_address(address) is not None


def test_a_server_that_does_not_answer_is_an_error_to_be_tried_again():
    recipient = Recipient("config", "notifyAddress", "mail", ["smtp://127.0.0.1:1", "a@b.org"])
    message = Notification("x", NotificationEvent.COMPLETED, "2026-01-01", "a\r\nBcc: b@c.org", "w")
    with pytest.raises(NotifierError, match="did not take the message"):
        notifiers.make(recipient).send(message)
