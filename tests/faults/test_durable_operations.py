"""F4: every durable operation of a run's life, failed in every way that a disk or a death can fail it.

After each fault the ordinary commands go on, and then all that was promised is looked for with the files
alone. The short form plays in forks, and leaves out what it has played already: to die after an operation is
to die before the next one of the same process, and the four errors of a disk are handled in one way, so that
each operation meets one of them, in turn. The long form plays everything, and everything again with the real
programs.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from job_orchestration.runs import journal
from job_orchestration.runs.events import TaskFinished, TaskStarted
from job_orchestration.workspace import durable, group_sync
from tests.faults import injection, promises, scenarios
from tests.faults.command_processes import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.injection import Made
    from tests.faults.scenarios import Scenario

pytestmark = pytest.mark.slow

every_scenario = pytest.mark.parametrize(
    "scenario", scenarios.SCENARIOS, ids=lambda s: s.name.replace(" ", "-")
)
QUICK = "retry"
"""The scenario that `make test` plays as well."""
some_are_slow = pytest.mark.parametrize(
    "scenario",
    [pytest.param(s, marks=() if s.name == QUICK else pytest.mark.slow) for s in scenarios.SCENARIOS],
    ids=[s.name.replace(" ", "-") for s in scenarios.SCENARIOS],
)
ENOUGH = 5
"""Findings after which nothing more is played; in a broken product every point may hang."""
HANG = 5.0
"""Seconds; a command that takes longer has hung. It takes a hundredth of that."""


def all_points(made: list[Made], scenario: Scenario) -> list[tuple[int, str]]:
    """The faults of the long form: an operation's number, and how it fails."""
    return [
        (m.number, kind)
        for m in made
        if re.search(scenario.new, m.path)
        for kind in injection.KINDS
        if kind != "torn" or m.name == "append"
    ]


def some_points(made: list[Made], scenario: Scenario) -> list[tuple[int, str]]:
    """The faults of the short form."""
    last = {m.process: m.number for m in made}.values()
    if scenario.new == scenarios.PINNED:  # every command has git's to wait for
        turn = itertools.cycle(("before", "ENOSPC", "EIO"))
        return [(m.number, next(turn)) for m in made if re.search(scenario.new, m.path)]
    return [
        (number, kind)
        for number, kind in all_points(made, scenario)
        if (kind != "after" or number in last)
        and (kind not in injection.ERRORS or kind == injection.ERRORS[number % len(injection.ERRORS)])
    ]


def played(stage: Stage, scenario: Scenario, faults: list[tuple[int, str]]) -> list[str]:
    """Play a scenario once for each fault; returns what was found wrong, with the fault that led to it."""
    started = time.monotonic()
    wrong: list[str] = []
    for at, kind in faults:
        try:
            found = scenarios.play(stage, scenario, at, kind)
        except AssertionError as error:
            found = [str(error)]
        wrong += [f"{scenario.name}, {kind} at operation {at}: {f}" for f in found]
        if len(wrong) >= ENOUGH:
            break
    kind = "programs" if stage.real else "forks"
    figure("F4", f"{scenario.name}, by {kind}: faults played / findings", f"{len(faults)} / {len(wrong)}")
    figure("F4", f"{scenario.name}, by {kind}: slowest command", f"{stage.slowest:.2f} s")
    print(f"({time.monotonic() - started:.1f} s)")
    return wrong


def need(scenario: Scenario, folder: Path) -> None:
    if "sync_file_system" in scenario.operations and not group_sync.is_trusted(str(folder)):
        pytest.skip("on this file system each file is synced by itself")


@every_scenario
def test_every_durable_operation_is_known(scenario: Scenario, folder: Path) -> None:
    need(scenario, folder)
    found = scenarios.counted(scenarios.operations(Stage(folder), scenario))
    assert found == scenario.operations, (
        "an operation more or less: have its faults played, then say so there"
    )


@some_are_slow
def test_no_fault_at_any_operation_loses_doubles_or_blocks_a_run(scenario: Scenario, folder: Path) -> None:
    need(scenario, folder)
    stage = Stage(folder)
    faults = some_points(scenarios.operations(stage, scenario), scenario)
    assert played(stage, scenario, faults) == []
    assert stage.slowest < HANG


def test_the_programs_themselves_have_the_same_operations_and_survive_a_sample_of_the_faults(
    folder: Path,
) -> None:
    life, *_ = scenarios.SCENARIOS
    stage = Stage(folder, real=True)
    made = scenarios.operations(stage, life)
    assert scenarios.counted(made) == life.operations
    kinds = ("ENOSPC for a while", "before", "EIO", "after", "ENOSPC")
    sample = [(made[(n + 1) * len(made) // 6].number, kind) for n, kind in enumerate(kinds)]
    assert played(stage, life, sample) == []


def test_a_line_whose_sync_failed_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "000001.jsonl"
    writer = journal.Writer(durable.create(str(path)), str(path))
    writer.write(TaskStarted("one", 1))
    before = path.read_bytes()

    def fails(operation: durable.Operation, call: Callable[[], object]) -> object:
        if operation.name == "fsync":
            raise OSError(errno.EIO, "as it was asked to")
        return call()

    monkeypatch.setattr(durable, "intercept", fails)
    with pytest.raises(OSError, match="asked"):
        writer.write(TaskFinished("one", 1.0), sync=True)
    os.close(writer.descriptor)
    assert path.read_bytes() == before


def test_a_disk_that_is_full_for_git_is_no_fault_of_the_config(folder: Path) -> None:
    stage = Stage(folder, real=True)
    scenarios.to_be_pinned(stage)
    git = shutil.which("git")
    said = "fatal: unable to write loose object file: No space left on device"  # by git, on a full disk
    wrapper = stage.site / "git"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *" fetch "*) echo "{said}" >&2; exit 128;; *) exec {git} "$@";; esac\n'
    )
    wrapper.chmod(0o755)
    ended = stage.act("ready", PATH=f"{stage.site}:{os.environ['PATH']}")
    assert ended.code == 4
    assert "The workspace cannot be used: No space left on device" in ended.said
    assert os.listdir(stage.workspace / "ConfigSources") == ["a.yaml"]
    scenarios.go_on(stage)
    assert promises.violations(stage.workspace, {"a": "Completed"}) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("real", [False, True], ids=["forks", "programs"])
@every_scenario
def test_every_fault_at_every_operation(scenario: Scenario, folder: Path, *, real: bool) -> None:
    need(scenario, folder)
    stage = Stage(folder, real=real)
    faults = all_points(scenarios.operations(stage, scenario), scenario)
    figure("F4", f"{scenario.name}: durable operations", sum(scenario.operations.values()))
    assert played(stage, scenario, faults) == []
    assert stage.slowest < HANG
