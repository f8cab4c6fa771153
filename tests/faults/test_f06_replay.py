"""F6: power cuts at every moment, on a disk that forgets whatever it was not told to keep.

Some stories are recorded once, operation by operation, with all that the workspace held. From the record
the states are computed that a power cut might leave (`disk`), each is made a workspace, the ordinary commands
go on in it, and what was promised is looked for with the files alone. The same without fsync, or with only
half of it, must be found out.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import disk, scenarios, verdict
from tests.faults.acts import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.disk import Disk

WORK = scenarios.WORK


@dataclass(frozen=True)
class Story:
    """Commands that are recorded; some die, and with them what they had not yet synced is only in memory."""

    name: str
    prepare: Callable[[Stage], None]
    acts: tuple[tuple[tuple[str, ...], str | None], ...]
    """The words, and the part of the path of the operation before which everybody dies."""
    runs: tuple[str, ...] = ("a",)


def two_dropped(stage: Stage) -> None:
    scenarios.fresh(stage)
    scenarios.drop(stage, "a")
    scenarios.drop(stage, "b")


STORIES = (
    Story("life", scenarios.dropped, ((("ready",), None), (WORK, None))),
    Story("handing back", scenarios._to_be_handed_back, ((WORK, None), (WORK, None))),
    Story("overwriting", scenarios._done_before, ((("ready",), None),)),
    Story(
        "an opening that died",
        two_dropped,
        ((("ready",), "link /ConfigsToRun/b.yaml"), (("ready",), None)),
        ("a", "b"),
    ),
    Story(
        "a checkpoint that was not synced",
        scenarios.dropped,
        ((("ready",), None), (WORK, "fsync /journal/000001.jsonl"), (WORK, None)),
    ),
)
every_story = pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name.replace(" ", "-"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the disk is made up anyway."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="job_orchestration.", dir=memory))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def record(stage: Stage, story: Story) -> Path:
    """Play a story and write down what happened."""
    story.prepare(stage)
    found = stage.folder / "record"
    found.unlink(missing_ok=True)
    for words, dies in story.acts:
        stage.record(words, found, dies)
    return found


class Replay:
    """The power cuts of one story.

    Args:
        stage: where the story was played.
        story: what was played.
        forgets: operations that do nothing, for the controls.
    """

    def __init__(self, stage: Stage, story: Story, forgets: frozenset[str] = frozenset()) -> None:
        self.story = story
        self.stage = stage
        self.root = stage.workspace
        self.record = record(stage, story)
        self.forgets = forgets
        self.chance = random.Random(6)
        self.played = 0

    def cuts(self, number: int) -> list[tuple[int, list[Any], dict[Any, bytes]]]:
        """Some of the states that the story may be cut to, spread over its operations."""
        found = [
            (at, changes, contents)
            for at, state in enumerate(disk.followed(self.root, self.record, self.forgets))
            for changes, contents in state.states(6, self.chance)
        ]
        return found if len(found) <= number else [found[i * len(found) // number] for i in range(number)]
