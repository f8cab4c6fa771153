"""`ready FILE` and `check FILE`: files of ConfigSources by name or glob, files from anywhere by path."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sources(workspace: Path) -> Path:
    return workspace / "ConfigSources"


def queued(cli, *files: str, check: int = 0) -> list[str]:
    return [q["run"] for q in json.loads(cli("ready", *files, "--json", check=check).stdout)["queued"]]


def left(sources: Path) -> list[str]:
    return sorted(os.listdir(sources))


@pytest.mark.slow
def test_only_the_files_that_are_named_are_queued(cli, drop, sources, tmp_path):
    for name in ("a1", "a2", "b", "c", "d"):
        drop(name)
    drop("bad", "tasks: 5\n")
    assert queued(cli, "b") == ["runs/b"]
    assert queued(cli, "a?.yaml", str(sources / "c.yaml"), "ConfigSources/c.yaml") == [
        "runs/a1",
        "runs/a2",
        "runs/c",
    ]
    assert left(sources) == ["bad.yaml", "d.yaml"], "what was not named is untouched: no list of problems"
    done = cli("ready", "bda.yaml", check=2)
    assert done.stderr == "There is no file bda.yaml. Did you mean bad?\n"
    done = cli("ready", "nowhere/x.yaml", "d", check=2)
    assert "There is no file nowhere/x.yaml." in done.stderr
    done = cli("ready", "bad", "d", check=3)
    assert "d.yaml: queued as runs/d" in done.stdout
    assert left(sources) == ["bad.yaml", "bad.yaml.problems.txt"]
    assert "0 to run" not in cli("status").stdout


@pytest.mark.slow
def test_a_file_from_elsewhere_is_copied_and_queued_and_stays_where_it_is(cli, drop, sources, tmp_path):
    text = drop("first").read_text()
    (sources / "first.yaml").unlink()
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    for name in ("one", "two", "three", "real"):
        (drafts / f"{name}.yaml").write_text(text.replace("runs/first", name))
    (drafts / "link.yaml").symlink_to("real.yaml")
    assert queued(cli, "drafts/one.yaml", str(drafts / "link.yaml")) == ["real", "one"]
    assert (drafts / "one.yaml").exists()
    assert left(sources) == []

    (sources / "two.yaml").write_text("another: one\n")
    done = cli("ready", "drafts/two.yaml", "drafts/three.yaml", check=3)
    assert (
        "two.yaml: a different file of this name is in ConfigSources. Give yours another name" in done.stdout
    )
    assert "three.yaml: queued as three" in done.stdout
    assert (sources / "two.yaml").read_text() == "another: one\n"
    (sources / "two.yaml").write_text((drafts / "two.yaml").read_text())
    assert queued(cli, "drafts/two.yaml") == ["two"], "the same file dropped before is no obstacle"


@pytest.mark.slow
def test_a_copy_that_is_refused_is_removed_so_that_there_is_one_file_to_correct(cli, drop, sources, tmp_path):
    text = drop("first").read_text()
    (sources / "first.yaml").unlink()
    (tmp_path / "x.yaml").write_text(text.replace("Quick", "Quikc"))
    done = cli("ready", "x.yaml", check=3)
    assert "did you mean Quick" in done.stdout or "Did you mean Quick" in done.stdout
    assert left(sources) == []
    (tmp_path / "x.yaml").write_text(text)
    assert queued(cli, "x.yaml") == ["runs/first"]


@pytest.mark.slow
def test_what_cannot_be_a_config_is_refused_and_the_others_are_queued(cli, drop, sources, tmp_path):
    drop("fine")
    (tmp_path / "x.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    done = cli("ready", "x.json", "pipe.yaml", "zero.yaml", "gone.yaml", "fine", check=3)
    assert "x.json: the name does not end in .yaml" in done.stdout
    assert "pipe.yaml: this is a FIFO" in done.stdout
    assert "zero.yaml: this is a device" in done.stdout
    assert "gone.yaml: " in done.stdout
    assert "fine.yaml: queued as runs/fine" in done.stdout
    assert left(sources) == []
    assert "folder is a folder" in cli("ready", "folder", check=2).stderr


@pytest.mark.slow
def test_check_finds_the_same_files_and_copies_none(cli, drop, sources, tmp_path):
    text = drop("a").read_text()
    drop("b")
    (tmp_path / "c.yaml").write_text(text.replace("runs/a", "c"))
    done = cli("check", "a", "ConfigSources/b*", "c.yaml")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["a.yaml", "b.yaml", "c.yaml"]
    assert left(sources) == ["a.yaml", "b.yaml"]
    assert "There is no file d." in cli("check", "d", check=2).stderr


@pytest.mark.slow
def test_a_file_that_a_watcher_takes_first_is_no_riddle(cli, start, drop, sources, tmp_path, eventually):
    text = drop("first").read_text()
    (sources / "first.yaml").unlink()
    for number in range(4):
        (tmp_path / f"w{number}.yaml").write_text(text.replace("runs/first", f"w{number}"))
    watch = start("watch")
    for number in range(4):
        done = cli("ready", f"w{number}.yaml")
        assert f"w{number}.yaml: queued as w{number}" in done.stdout or "at the same time" in done.stdout
    eventually(lambda: cli("status").stdout.count("to run  w") == 4)
    watch.terminate()
    assert watch.wait(60) == 130
