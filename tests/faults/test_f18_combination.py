"""F18: all commands at the same time, and kills of everything, by a user without privileges."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import combination
from tests.faults.figures import figure

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("COMBINATION_KILLS", "3000"))
"""Of the long form."""


@pytest.mark.slow
def test_all_commands_at_once_and_kills_of_everything(folder: Path) -> None:
    played = combination.play(folder, kills=60, runs=12, limit=240, seed=18)
    assert played.violations() == []
    assert len(played.kills) >= 8, "victims of many kinds"
    assert played.cuts.deaths, "at chosen writes too"


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_all_commands_at_once_and_kills_of_everything_for_long(folder: Path) -> None:
    left, number, found, seconds = KILLS, 0, [], 0.0
    while left > 0:
        kills, number = min(left, 300), number + 1
        place = folder / str(number)
        place.mkdir()
        began = time.monotonic()
        played = combination.play(place, kills=kills, runs=30, workers=3, limit=3600, seed=number)
        found += played.violations()
        seconds += time.monotonic() - began
        left -= sum(played.kills.values())
        figure("F18", f"play {number}: kills", combination.summary_of(played.kills))
        figure("F18", f"play {number}: cuts", combination.summary_of(played.cuts.deaths))
        figure("F18", f"play {number}: commands", combination.summary_of(played.commands))
        assert found == []
    figure("F18", "findings", f"{len(found)} in {seconds:.0f} s")
