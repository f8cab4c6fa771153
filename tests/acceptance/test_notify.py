"""Test `notify` on the command line: recipients, test messages, and the outbox."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def write_defaults(workspace):
    """Return a function that writes `workspace.yaml`."""
    return (workspace / "workspace.yaml").write_text


def test_notify_lists_the_recipients_and_changes_nothing(workspace, cli, write_defaults):
    write_defaults("notify: [{command: 'true', on: failed}, 'mailto://me:sesame77@example.org']\n")
    before = sorted(workspace.rglob("*"))
    done = cli("notify")
    assert done.stdout.splitlines() == [
        "notify[0] of workspace.yaml (command): gets failed, gave_up",
        "notify[1] of workspace.yaml (mailto://…): gets gave_up, queue_empty, stalled",
    ]
    found = json.loads(cli("notify", "--json").stdout)
    assert found["recipients"][0] == {
        "who": "notify[0] of workspace.yaml (command)",
        "on": ["failed", "gave_up"],
    }
    assert (found["waiting"], found["undelivered"], found["log"]) == (0, 0, [])
    assert sorted(workspace.rglob("*")) == before


def test_a_test_message_goes_to_every_recipient_and_its_result_is_printed(cli, write_defaults, tmp_path):
    write_defaults(f"notify: [{{command: 'tee {tmp_path}/received'}}, {{command: 'false'}}]\n")
    done = cli("notify", "--test", check=4)
    assert done.stdout.splitlines() == [
        "notify[0] of workspace.yaml (command): the test message was taken",
        "notify[1] of workspace.yaml (command): failed: false ended with exit code 1.",
    ]
    assert json.loads((tmp_path / "received").read_text())["event"] == "test"
    assert [r["ok"] for r in json.loads(cli("notify", "--test", "--json", check=4).stdout)["recipients"]] == [
        True,
        False,
    ]


def test_recipients_of_a_config_get_a_test_message(cli, write_defaults, drop):
    write_defaults("notify: {command: 'false'}\n")
    drop("a", {"notify": {"command": "true"}})
    drop("b", {"notify": None})
    assert "notify of the config (command): the test" in cli("notify", "--test", "a.yaml").stdout
    assert "No recipients configured" in cli("notify", "b").stdout
    assert "There is no config c" in cli("notify", "c", check=2).stderr


def test_an_invalid_recipient_is_one_sentence(cli, write_defaults):
    write_defaults("notify: [{command: 'true', on: [finished]}]\n")
    error = cli("notify", check=2).stderr
    assert (
        "workspace.yaml: notify[0]: there is no event 'finished'. Choose from: accepted, started, completed, "
        in error
    )


@pytest.mark.slow
def test_notify_deliver_prints_what_it_did(cli, write_defaults, drop, tmp_path):
    write_defaults(f"notify: [{{command: 'tee {tmp_path}/received', on: gave_up}}]\n")
    assert cli("notify", "--deliver").stdout == "The outbox is empty.\n"
    drop("a", {"maxAttempts": 1, "mended": "/never"}, tasks=["Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    assert json.loads((tmp_path / "received").read_text())["run"] == "runs/a"
    assert cli("notify", "--deliver").stdout == "The outbox is empty.\n"
    assert json.loads(cli("notify", "--deliver", "--json").stdout) == {"delivered": 0, "failed": 0}
