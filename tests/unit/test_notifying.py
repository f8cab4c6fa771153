"""Who is told what, and that no secret gets into what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.model.news import News, NewsKind, Recipient
from job_orchestration.rules import notifying
from job_orchestration.rules.checking import read_and_check

CONFIG = b'outputDir: a\ntasks: [{id: t, method: "m:C"}]\n'
MAIL = "mailto://me:sesame77@example.org"


def kinds(on):
    return sorted(map(str, on))


def problems_of(text, defaults=None):
    return [str(p) for p in read_and_check(CONFIG + text.encode(), "a.yaml", "a", defaults or {}).problems]


# -- who is told ------------------------------------------------------------------------------------------


def test_a_bare_address_in_a_config_hears_how_its_run_ends():
    (found,) = notifying.recipients_of({"notify": MAIL}, {})
    assert (found.kind, found.target, found.source) == ("to", MAIL, "config")
    assert kinds(found.on) == ["completed", "gave_up", "stuck"]


def test_a_bare_address_in_workspace_yaml_does_not_get_a_mail_for_each_of_3000_runs():
    (found,) = notifying.recipients_of({}, {"notify": MAIL})
    assert kinds(found.on) == ["gave_up", "queue_empty", "stuck"]


def test_a_configs_own_notify_takes_the_place_of_the_workspaces_even_when_it_is_null():
    defaults = {"notify": [MAIL, {"command": "beep"}]}
    assert [r.kind for r in notifying.recipients_of({}, defaults)] == ["to", "command"]
    assert [r.kind for r in notifying.recipients_of({"notify": {"command": "x"}}, defaults)] == ["command"]
    assert notifying.recipients_of({"notify": None}, defaults) == ()


def test_who_asks_for_failures_is_told_of_the_last_one_too():
    recipient = Recipient("config", "notify", "to", MAIL, frozenset({NewsKind.FAILED}))
    assert [kind for kind in NewsKind if recipient.hears(kind)] == [NewsKind.FAILED, NewsKind.GAVE_UP]


def test_a_callback_is_told_of_both_ends_besides_everybody_else():
    found = notifying.recipients_of({"callbackUrl": "https://example.org/x"}, {"notify": MAIL})
    assert [(r.key, kinds(r.on)) for r in found][1] == ("callbackUrl", ["completed", "gave_up"])


def test_what_workspace_yaml_says_of_notify_never_gets_into_a_config():
    checked = read_and_check(CONFIG, "a.yaml", "a", {"notify": MAIL, "maxAttempts": 2})
    assert checked.config is not None
    assert checked.config.values["maxAttempts"] == 2
    assert "notify" not in checked.config.values


# -- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("notify: [{to: x, on: [finished]}]", "a.yaml:3:10: notify[0]: there is no event 'finished'"),
        ("notify: [{on: completed}]", "it names nobody to be told"),
        ("notify: [{to: x, command: y}]", "command, to are several"),
        ("notify: 7", "notify: 7 names nobody"),
        ("notify: {command: []}", "command is not a text"),
        ("notify: {to: x, on: []}", "on is an empty list"),
        ("notify: {to: x, on: queue_empty}", "queue_empty is about the whole workspace"),
        ("callbackUrl: ftp://example.org/x", "callbackUrl: this is not an address"),
        ("callbackUrl: https:///x", "callbackUrl: this is not an address"),
        ("callbackUrl: [a]", "callbackUrl: a list is not an address"),
    ],
)
def test_what_names_nobody_is_a_problem_at_its_line(text, told):
    (problem,) = problems_of(text)
    assert told in problem
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
def test_what_names_somebody_is_fine(text):
    assert problems_of(text) == []


def test_a_fault_of_workspace_yaml_is_told_as_its_own():
    (problem,) = problems_of("", {"notify": [{"to": "x", "on": ["never"]}]})
    assert "there is no event 'never', which workspace.yaml says" in problem
    assert problems_of("", {"notify": [{"to": "x", "on": ["queue_empty"]}]}) == []


# -- secrets ----------------------------------------------------------------------------------------------


def test_variables_are_put_in_wherever_they_stand():
    target = ["${A}", "x-${B}-${A}", "$A {B}"]
    assert notifying.variables_in(target) == ["A", "B", "A"]
    assert notifying.expanded(target, {"A": "1", "B": "2"}) == ["1", "x-2-1", "$A {B}"]
    with pytest.raises(KeyError):
        notifying.expanded("${C}", {})


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
def test_no_secret_survives_in_what_a_service_says_of_its_failure(target, secret):
    secrets = notifying.secrets_of(target, {"WORD": "magic word"})
    text = notifying.redacted(f"cannot log in to example.org with {secret!r}", secrets)
    assert secret not in text
    assert "****" in text


def test_the_host_stays_in_what_a_mail_server_says():
    secrets = notifying.secrets_of("mailto://me:sesame77@mail.example.org:25/?from=x", {})
    assert "mail.example.org" in notifying.redacted("mail.example.org refused sesame77", secrets)


@given(st.text(alphabet="abcXYZ019%~.-_", min_size=4, max_size=20), st.sampled_from(["mailto", "slack"]))
def test_no_label_and_no_redacted_text_shows_a_password(password, scheme):
    target = f"{scheme}://me:{password}@example.org/path"
    recipient = Recipient("workspace", "notify[0]", "to", target)
    assert notifying.label_of(recipient) == f"notify[0] of workspace.yaml ({scheme}://…)"
    assert password not in notifying.redacted(f"<{password}>", notifying.secrets_of(target, {}))


def test_a_password_in_an_address_is_seen_and_a_variable_is_none():
    assert notifying.shows_password(MAIL)
    assert notifying.shows_password(["json://a", MAIL])
    assert not notifying.shows_password("mailto://me:${WORD}@example.org")
    assert not notifying.shows_password("https://example.org:8000/a@b")


# -- how it reads -----------------------------------------------------------------------------------------


def test_news_is_the_same_after_a_file_and_says_where_to_look():
    news = News(
        "0f",
        NewsKind.GAVE_UP,
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
    assert News.from_json(news.as_json()) == news
    text = notifying.text_of(news)
    for told in (
        "after 3 tries: ValueError",
        "Output: /data/ws/Output/runs/a",
        "1 h 2 min",
        "lab3",
        "one\ntwo",
    ):
        assert told in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.25, "0.2 s"), (12.7, "12 s"), (60, "1 min"), (3_599, "59 min 59 s"), (90_000, "1 d 1 h")],
)
def test_a_length_of_time_is_told_in_two_units_at_the_most(seconds, told):
    assert notifying.span(seconds) == told
