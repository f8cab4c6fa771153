"""`notify` on the command line: who is told, whether that works, and what could not be delivered."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def say(workspace):
    """Writes `workspace.yaml`."""
    return (workspace / "workspace.yaml").write_text


def test_notify_shows_who_is_told_and_changes_nothing(workspace, cli, say):
    say("notify: [{command: 'true', on: failed}, 'mailto://me:sesame77@example.org']\n")
    before = sorted(workspace.rglob("*"))
    done = cli("notify")
    assert done.stdout.splitlines() == [
        "notify[0] of workspace.yaml (command): is told of failed, gave_up",
        "notify[1] of workspace.yaml (mailto://…): is told of gave_up, queue_empty, stuck",
    ]
    found = json.loads(cli("notify", "--json").stdout)
    assert found["recipients"][0] == {
        "who": "notify[0] of workspace.yaml (command)",
        "on": ["failed", "gave_up"],
    }
    assert (found["waiting"], found["undelivered"], found["log"]) == (0, 0, [])
    assert sorted(workspace.rglob("*")) == before


def test_a_test_message_goes_to_everybody_and_tells_how_it_went(cli, say, tmp_path):
    say(f"notify: [{{command: 'tee {tmp_path}/told'}}, {{command: 'false'}}]\n")
    done = cli("notify", "--test", check=4)
    assert done.stdout.splitlines() == [
        "notify[0] of workspace.yaml (command): the test message was taken",
        "notify[1] of workspace.yaml (command): failed: false ended with exit code 1.",
    ]
    assert json.loads((tmp_path / "told").read_text())["event"] == "test"
    assert [r["ok"] for r in json.loads(cli("notify", "--test", "--json", check=4).stdout)["recipients"]] == [
        True,
        False,
    ]


def test_a_configs_own_recipients_are_tried_by_its_name(cli, say, drop):
    say("notify: {command: 'false'}\n")
    drop("a", {"notify": {"command": "true"}})
    drop("b", {"notify": None})
    assert "notify of the config (command): the test" in cli("notify", "--test", "a.yaml").stdout
    assert "Nobody is told" in cli("notify", "b").stdout
    assert "There is no config c" in cli("notify", "c", check=2).stderr


def test_a_mistake_is_one_sentence(cli, say):
    say("notify: [{command: 'true', on: [finished]}]\n")
    error = cli("notify", check=2).stderr
    assert "workspace.yaml: notify[0]: there is no event 'finished'. Choose from: completed" in error


def test_delivering_by_hand_says_what_was_done(cli, say, drop, tmp_path):
    say(f"notify: [{{command: 'tee {tmp_path}/told', on: gave_up}}]\n")
    assert cli("notify", "--deliver").stdout == "Nothing waits to be told.\n"
    drop("a", {"maxAttempts": 1, "mended": "/never"}, tasks=["Fails"])
    cli("ready")
    cli("work", "--until-idle", check=1)
    assert json.loads((tmp_path / "told").read_text())["run"] == "runs/a"
    assert cli("notify", "--deliver").stdout == "Nothing waits to be told.\n"
    assert json.loads(cli("notify", "--deliver", "--json").stdout) == {"delivered": 0, "failed": 0}
