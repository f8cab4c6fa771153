"""F15: clocks that are set while everything is at work.

The processes of these tests take the time of day from a clock of their own: a ``sitecustomize`` adds what a
file says to what the system says. The monotonic clock, and the times of files, stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tests.conftest import ROOT, wait_until
from tests.faults.figures import figure
from tests.faults.workspace_files import events, names

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
CLOCK = """
import datetime as module, os, time

def offset():
    with open(os.environ["TEST_CLOCK"]) as file:
        return float(file.read() or 0)

really, really_ns = time.time, time.time_ns
time.time = lambda: really() + offset()
time.time_ns = lambda: really_ns() + int(offset() * 1e9)

class Shifted(module.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now(module.UTC).replace(tzinfo=None)

module.datetime = Shifted
"""
LONG = [pytest.param(jump, marks=pytest.mark.soak) for jump in (HOUR, -HOUR, 5, -5, 1e8, -1e8)]
JUMPS = pytest.mark.parametrize("jump", [HOUR, *LONG])
BACK = pytest.mark.parametrize("jump", [-HOUR, *LONG])
"""Seconds by which clocks are set; a machine without a battery comes up years behind."""


class Clock:
    """A clock that some processes look at: give them `environment`, and set it when you like."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"clock {name}"
        self._patch = folder / "clock patch"
        self._patch.mkdir(exist_ok=True)
        (self._patch / "sitecustomize.py").write_text(CLOCK)
        self.set(0)

    def set(self, offset: float) -> None:
        part = self._file.with_name(f"{self._file.name}.part")
        part.write_text(str(offset))
        part.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {"TEST_CLOCK": str(self._file), "PYTHONPATH": os.pathsep.join([str(self._patch), str(ROOT)])}


@pytest.fixture
def clock(tmp_path):
    return lambda name="one": Clock(tmp_path, name)


def negative_figures(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [f for v in value.values() for f in negative_figures(v)]
    if isinstance(value, list):
        return [f for v in value for f in negative_figures(v)]
    return [value] if isinstance(value, int | float) and value < 0 else []


@pytest.mark.slow
@JUMPS
def test_a_run_of_a_living_worker_is_never_claimed_whatever_the_clocks_say(
    workspace, drop, cli, start, tmp_path, clock, jump
):
    ours, theirs = clock("ours"), clock("theirs")
    gate = tmp_path / "gate"
    drop("a", {"gate": str(gate), "maxAttempts": 1}, tasks=["Waits", "Quick"])
    cli("ready")
    holder = start("work", env=ours.environment)
    wait_until(lambda: events(workspace, "runs/a", "task_started"))
    theirs.set(jump)
    start("work", env=theirs.environment)
    drop("b")
    cli("ready")
    ours.set(-jump)
    wait_until(lambda: names(workspace, "Completed") == ["b"], what="the other works")
    (token,) = (workspace / "Running").glob("a~*")
    looked_at = time.monotonic()
    wait_until(lambda: time.monotonic() - looked_at > 2.5)  # Running is looked at each second
    assert token.exists()
    assert holder.poll() is None

    status = json.loads(cli("status", "--json", env=theirs.environment).stdout)
    (entry,) = [r for r in status["runs"] if r["config"] == "a"]
    assert (entry["place"], entry["attempt"]) == ("running", 1)
    assert negative_figures(status) == []
    shown = cli("show", "runs/a", "--json", env=theirs.environment).stdout
    assert negative_figures(json.loads(shown)) == []
    for view in ("status", "progressReport"):
        assert not re.search(r"(?<![\w~.-])-\d", cli(view, env=theirs.environment).stdout)

    gate.touch()
    wait_until(lambda: "a" in names(workspace, "Completed"))
    assert len(events(workspace, "runs/a", "claimed")) == 1
    status = json.loads(cli("status", "--json", env=theirs.environment).stdout)
    assert negative_figures(status) == [], "a duration went backwards"
    figure("F15", f"clocks set by {jump:+g} s: living claims taken over", 0)


@pytest.mark.slow
@BACK
def test_a_wait_before_the_next_try_is_as_long_as_it_was_meant(
    workspace, drop, cli, start, tmp_path, clock, jump
):
    mended = tmp_path / "mended"
    ours, theirs = clock("ours"), clock("theirs")
    content = {"mended": str(mended), "maxAttempts": 2, "retryDelay": 4}
    drop("a", content, tasks=["Fails"])
    cli("ready")
    failing = start("work", env=ours.environment)
    wait_until(lambda: events(workspace, "runs/a", "handed_back"))
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since > 1)  # by then the worker knows how long it is to wait
    ours.set(jump)
    mended.touch()
    if jump < 0:  # another worker comes, which never saw the clock as it was
        failing.terminate()
        theirs.set(jump)
        start("work", env=theirs.environment)
    wait_until(lambda: names(workspace, "Completed") == ["a"], 60)
    waited = time.monotonic() - since
    assert 3.5 < waited < 4 + 15
    assert len(events(workspace, "runs/a", "task_failed")) == 1
    figure("F15", f"clock set by {jump:+g} s: a wait of 4 s, seconds", round(waited, 1))


@pytest.mark.slow
@BACK
def test_a_clock_that_is_set_back_before_the_wait_is_known_makes_it_begin_anew(
    workspace, drop, cli, tmp_path, clock, jump
):
    """The worker dies between the failure and the wait; the next one lives in another time."""
    mine = clock()
    mine.set(abs(jump))
    drop("a", {"mended": str(tmp_path / "mended"), "maxAttempts": 2, "retryDelay": 2}, tasks=["Fails"])
    cli("ready", env=mine.environment)
    while not (waiting := list((workspace / "ConfigsToRun").glob("a~wait*"))):
        cli("work", "--for", "1s", env=mine.environment, check=None)
    (token,) = waiting
    last = max((workspace / "Output/runs/a/journal").glob("*.jsonl"))
    last.write_text("".join(line for line in last.read_text().splitlines(True) if "handed_back" not in line))
    token.rename(workspace / "Running" / f"a~g{int(last.stem):06d}~gone.1.abc.yaml")
    (tmp_path / "mended").touch()
    began = time.monotonic()
    cli("work", "--until-idle", limit=60)
    assert names(workspace, "Completed") == ["a"]
    assert time.monotonic() - began > 2


@pytest.mark.slow
@BACK
def test_dropped_files_are_read_whole_under_any_clock(workspace, drop, cli, start, clock, jump):
    mine = clock()
    mine.set(jump)
    watching = start("watch", env=mine.environment)
    drop("renamed")
    wait_until(lambda: names(workspace, "ConfigsToRun") == ["renamed"], 30)
    text = (workspace / "ConfigsToRun" / "renamed.yaml").read_text().replace("runs/renamed", "runs/written")
    written = workspace / "ConfigSources" / "written.yaml"
    for part in (text, "rest: 1\n", "end: 1\n"):  # what stands there is whole YAML each time
        with written.open("a") as file:
            file.write(part)
        time.sleep(0.9)
    wait_until(lambda: names(workspace, "ConfigsToRun") == ["renamed", "written"], 30)
    assert "end: 1" in (workspace / "ConfigsToRun" / "written.yaml").read_text()
    assert watching.poll() is None


@pytest.mark.slow
def test_the_hour_that_comes_twice_makes_no_two_runs_of_one_name(workspace, drop, cli, clock):
    zone = ZoneInfo("Europe/Berlin")
    mine = clock()
    twice = {**mine.environment, "TZ": "Europe/Berlin"}
    for fold in (0, 1):
        moment = datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold)
        mine.set((moment - datetime.now(UTC)).total_seconds())
        drop(f"a{fold}", {"outputDir": "{date}/x_{time}"})
        queued = cli("ready", env=twice).stdout
        if fold:
            break
        first = re.findall(r"queued as (\S+)", queued)[0]
    assert first.startswith("2026_10_25/x_02_30_")
    mine.set((datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1) - datetime.now(UTC)).total_seconds())
    assert names(workspace, "ConfigsToRun") == ["a0", "a1"]
    cli("work", "--until-idle", env=twice)
    entries = json.loads(cli("status", "--json", env=twice).stdout)
    assert names(workspace, "Completed") == ["a0", "a1"]
    assert negative_figures(entries) == []
    starts = sorted(e["readied_at"] for e in entries["runs"])
    assert starts[0] < starts[1] < "2026-10-25T02", "times are UTC, where no hour comes twice"
