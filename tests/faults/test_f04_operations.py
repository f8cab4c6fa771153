"""F4: every durable operation of a run's life, failed in every way that a disk or a death can fail it.

After each fault the ordinary commands go on, and then all that was promised is looked for with the files
alone. The short form plays in forks; the long form repeats everything with the real programs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults import injection, scenarios, verdict
from tests.faults.acts import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.scenarios import Scenario

ROTATING = ("ENOSPC for a while", "EIO", "EDQUOT")
"""Errors of which the short form takes one an operation, in turn; the product has one way for all of them."""

every_scenario = pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda s: s.name.replace(" ", "-"))


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


def points(stage: Stage, scenario: Scenario, *, everything: bool) -> list[tuple[int, str]]:
    """The faults to be played: an operation's number, and how it fails."""
    found: list[tuple[int, str]] = []
    for made in scenarios.operations(stage, scenario):
        kinds = [k for k in injection.KINDS if k != "torn" or made.name == "append"]
        if not everything:
            kinds = [k for k in kinds if k not in ROTATING or k == ROTATING[made.number % len(ROTATING)]]
        found += [(made.number, kind) for kind in kinds]
    return found


def played(stage: Stage, scenario: Scenario, faults: list[tuple[int, str]]) -> list[str]:
    """Play a scenario once for each fault; returns what was found wrong, with the fault that led to it."""
    wrong: list[str] = []
    for at, kind in faults:
        try:
            found = scenarios.play(stage, scenario, at, kind)
        except AssertionError as error:
            found = [str(error)]
        if found:
            made = injection.made(stage.faults)
            what = next((f"{m.name} {m.path}" for m in made if m.number == at), "?")
            wrong += [f"{scenario.name}, {kind} at {at} ({what}): {f}" for f in found]
    return wrong


@every_scenario
def test_every_durable_operation_is_known(scenario: Scenario, folder: Path) -> None:
    found = scenarios.counted(scenarios.operations(Stage(folder), scenario))
    assert found == scenario.operations, "an operation more or less: see that its faults are played, then say so"


@every_scenario
def test_no_fault_at_any_operation_loses_doubles_or_blocks_a_run(scenario: Scenario, folder: Path) -> None:
    stage = Stage(folder)
    faults = points(stage, scenario, everything=False)
    started = time.monotonic()
    wrong = played(stage, scenario, faults)
    figure("F4", f"{scenario.name}: faults played, findings", (len(faults), len(wrong)))
    figure("F4", f"{scenario.name}: seconds of the slowest command", round(stage.slowest, 2))
    figure("F4", f"{scenario.name}: seconds", round(time.monotonic() - started, 1))
    assert wrong == []
