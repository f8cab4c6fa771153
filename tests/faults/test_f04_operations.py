"""F4: every durable operation of a run's life, failed in every way that a disk or a death can fail it.

After each fault the ordinary commands go on, and then all that was promised is looked for with the files
alone. The short form plays in forks, and leaves out what it has played already: to die after an operation is
to die before the next one of the same process, and the four errors of a disk are handled in one way, so that
each operation meets one of them, in turn. The long form plays everything, and everything again with the real
programs.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import injection, scenarios
from tests.faults.acts import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.injection import Made
    from tests.faults.scenarios import Scenario

every_scenario = pytest.mark.parametrize(
    "scenario", scenarios.SCENARIOS, ids=lambda s: s.name.replace(" ", "-")
)
HANG = 5.0
"""Seconds; a command that takes longer has hung. It takes a hundredth of that."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: these faults are not about what a disk forgets."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="job_orchestration.", dir=memory))
    yield made
    shutil.rmtree(made, ignore_errors=True)


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
    kind = "programs" if stage.real else "forks"
    figure("F4", f"{scenario.name}, by {kind}: faults played / findings", f"{len(faults)} / {len(wrong)}")
    figure("F4", f"{scenario.name}, by {kind}: slowest command", f"{stage.slowest:.2f} s")
    print(f"({time.monotonic() - started:.1f} s)")
    return wrong


@every_scenario
def test_every_durable_operation_is_known(scenario: Scenario, folder: Path) -> None:
    found = scenarios.counted(scenarios.operations(Stage(folder), scenario))
    assert found == scenario.operations, (
        "an operation more or less: have its faults played, then say so there"
    )


@every_scenario
def test_no_fault_at_any_operation_loses_doubles_or_blocks_a_run(scenario: Scenario, folder: Path) -> None:
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
    sample = all_points(made, life)[3::43]
    assert len({kind for _, kind in sample}) >= 5
    assert played(stage, life, sample) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("real", [False, True], ids=["forks", "programs"])
@every_scenario
def test_every_fault_at_every_operation(scenario: Scenario, folder: Path, *, real: bool) -> None:
    stage = Stage(folder, real=real)
    faults = all_points(scenarios.operations(stage, scenario), scenario)
    figure("F4", f"{scenario.name}: durable operations", sum(scenario.operations.values()))
    assert played(stage, scenario, faults) == []
    assert stage.slowest < HANG
