"""Test recipients and their events, and that no label or message shows a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config import notification_settings
from job_orchestration.config.notification_settings import NotificationEvent, Recipient
from job_orchestration.config.validation import read_and_check
from job_orchestration.notifications import http_callback, notification, targets
from job_orchestration.notifications.notification import Notification

CONFIG = b'outputDir: a\ntasks: [{id: t, method: "m:C"}]\n'
MAIL = "mailto://me:sesame77@example.org"


def kinds(on):
    return sorted(map(str, on))


def problems_of(text, defaults=None):
    return [str(p) for p in read_and_check(CONFIG + text.encode(), "a.yaml", "a", defaults or {}).problems]


# -- recipients -------------------------------------------------------------------------------------------


def test_an_address_in_a_config_without_events_gets_the_end_of_its_run():
    (found,) = notification_settings.recipients_of({"notify": MAIL}, {})
    assert (found.kind, found.target, found.source) == ("to", MAIL, "config")
    assert kinds(found.on) == ["completed", "gave_up", "stalled"]


def test_an_address_in_workspace_yaml_without_events_does_not_get_completed():
    (found,) = notification_settings.recipients_of({}, {"notify": MAIL})
    assert kinds(found.on) == ["gave_up", "queue_empty", "stalled"]


def test_notify_of_a_config_replaces_that_of_the_workspace_even_if_it_is_null():
    defaults = {"notify": [MAIL, {"command": "beep"}]}
    assert [r.kind for r in notification_settings.recipients_of({}, defaults)] == ["to", "command"]
    assert [r.kind for r in notification_settings.recipients_of({"notify": {"command": "x"}}, defaults)] == [
        "command"
    ]
    assert notification_settings.recipients_of({"notify": None}, defaults) == ()


def test_recipients_of_failed_also_get_gave_up():
    recipient = Recipient("config", "notify", "to", MAIL, frozenset({NotificationEvent.FAILED}))
    assert [kind for kind in NotificationEvent if recipient.gets(kind)] == [
        NotificationEvent.FAILED,
        NotificationEvent.GAVE_UP,
    ]


def test_a_callback_gets_the_steps_of_a_run_in_addition_to_the_other_recipients():
    found = notification_settings.recipients_of({"callbackUrl": "https://example.org/x"}, {"notify": MAIL})
    assert [(r.key, kinds(r.on)) for r in found][1] == (
        "callbackUrl",
        ["accepted", "completed", "gave_up", "started"],
    )


def test_a_callback_gets_progress_and_is_kept_to_public_addresses_if_the_config_says_so():
    own = {"callbackUrl": "https://example.org/x", "callbackProgress": True, "callbackPublicOnly": True}
    (found,) = notification_settings.recipients_of(own, {})
    assert "progress" in kinds(found.on)
    assert found.kind == "public_callback"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:7f00:1::80ff:fffe", "ff02::1", "x", "",
    ],
)  # fmt: skip
def test_an_address_of_this_machine_its_network_or_its_cloud_is_not_public(address):
    assert not http_callback.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet_is_public(address):
    assert http_callback.is_public(address)


def test_notify_of_workspace_yaml_is_never_copied_into_a_config():
    checked = read_and_check(CONFIG, "a.yaml", "a", {"notify": MAIL, "maxAttempts": 2})
    assert checked.config is not None
    assert checked.config.values["maxAttempts"] == 2
    assert "notify" not in checked.config.values


# -- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("notify: [{to: x, on: [finished]}]", "a.yaml:3:10: notify[0]: there is no event 'finished'"),
        ("notify: [{on: completed}]", "it has no notifier"),
        ("notify: [{to: x, command: y}]", "command, to are several"),
        ("notify: 7", "notify: 7 is not a recipient"),
        ("notify: {command: []}", "command is not a text"),
        ("notify: {to: x, on: []}", "on is an empty list"),
        ("notify: {to: x, on: queue_empty}", "queue_empty is about the whole workspace"),
        ("callbackUrl: ftp://example.org/x", "callbackUrl: this is not an address"),
        ("callbackUrl: https:///x", "callbackUrl: this is not an address"),
        ("callbackUrl: [a]", "callbackUrl: a list is not an address"),
    ],
)
def test_an_invalid_recipient_is_a_problem_with_its_line(text, expected):
    (problem,) = problems_of(text)
    assert expected in problem
    assert "a.yaml:3:" in problem


@pytest.mark.parametrize(
    "text",
    [
        "notify: null",
        "notify: []",
        f"notify: {MAIL}",
        "notify: {command: [say, '{title}'], on: failed}",
        "callbackUrl: http://localhost:8000/jobs/{run}",
        'callbackUrl: "${CALLBACK_URL}"',
        "callbackUrl: null",
    ],
)
def test_a_valid_recipient_is_no_problem(text):
    assert problems_of(text) == []


def test_a_fault_of_workspace_yaml_is_reported_as_one():
    (problem,) = problems_of("", {"notify": [{"to": "x", "on": ["never"]}]})
    assert "there is no event 'never', which workspace.yaml says" in problem
    assert problems_of("", {"notify": [{"to": "x", "on": ["queue_empty"]}]}) == []


# -- secrets ----------------------------------------------------------------------------------------------


def test_variables_are_replaced_anywhere_in_a_target():
    target = ["${A}", "x-${B}-${A}", "$A {B}"]
    assert notification_settings.variables_in(target) == ["A", "B", "A"]
    assert targets.expanded(target, {"A": "1", "B": "2"}) == ["1", "x-2-1", "$A {B}"]
    with pytest.raises(KeyError):
        targets.expanded("${C}", {})


@pytest.mark.parametrize(
    ("target", "secret"),
    [
        (MAIL, "sesame77"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "TIiajkdnlazkcOXrIdevi7FQ"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "T1JJ3T3L2"),
        ("https://example.org/hook/9f8e7d6c?token=abcdef", "abcdef"),
        ("mailto://me:open%20sesame@example.org", "open sesame"),
        ("mailto://me:${WORD}@example.org", "magic word"),
        (["curl", "-u", "me:${WORD}"], "magic word"),
    ],
)
def test_secrets_are_masked_in_the_error_of_a_service(target, secret):
    secrets = targets.secrets_of(target, {"WORD": "magic word"})
    text = targets.redacted(f"cannot log in to example.org with {secret!r}", secrets)
    assert secret not in text
    assert "****" in text


def test_the_name_of_a_mail_server_is_not_masked_in_its_error():
    secrets = targets.secrets_of("mailto://me:sesame77@mail.example.org:25/?from=x", {})
    assert "mail.example.org" in targets.redacted("mail.example.org refused sesame77", secrets)


@given(st.text(alphabet="abcXYZ019%~.-_", min_size=4, max_size=20), st.sampled_from(["mailto", "slack"]))
def test_no_label_and_no_redacted_text_shows_a_password(password, scheme):
    target = f"{scheme}://me:{password}@example.org/path"
    recipient = Recipient("workspace", "notify[0]", "to", target)
    assert targets.label_of(recipient) == f"notify[0] of workspace.yaml ({scheme}://…)"
    assert password not in targets.redacted(f"<{password}>", targets.secrets_of(target, {}))


def test_a_password_in_an_address_is_detected_and_a_variable_is_no_password():
    assert targets.shows_password(MAIL)
    assert targets.shows_password(["json://a", MAIL])
    assert not targets.shows_password("mailto://me:${WORD}@example.org")
    assert not targets.shows_password("https://example.org:8000/a@b")


# -- text -------------------------------------------------------------------------------------------------


def test_a_notification_survives_json_and_its_text_says_where_to_look():
    message = Notification(
        "0f",
        NotificationEvent.GAVE_UP,
        "2026-11-20T08:00:00+00:00",
        "runs/a failed: no",
        "/data/ws",
        run="runs/a",
        reason="task t failed after 3 tries: ValueError: no",
        task="t",
        tries=3,
        attempt=2,
        elapsed_s=3_725.0,
        output="/data/ws/Output/runs/a",
        dashboard="http://lab3/runs/a",
        log=("one", "two"),
    )
    assert Notification.from_json(message.as_json()) == message
    text = notification.text_of(message)
    for expected in (
        "after 3 tries: ValueError",
        "Output: /data/ws/Output/runs/a",
        "1 h 2 m",
        "lab3",
        "one\ntwo",
    ):
        assert expected in text
