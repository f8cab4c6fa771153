"""F6: power cuts at every moment, on a disk that forgets everything it was not asked to keep.

Some stories are recorded once, operation by operation, with all that the workspace held. From the record
the states are computed that a power cut might leave (`disk`), each is made a workspace, the ordinary commands
go on in it, and what was promised is looked for with the files alone. The same without fsync, or with only
half of it, must be found out.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.runs import opening
from job_orchestration.workspace.group_sync import GroupSync
from tests.faults import disk, promises, scenarios
from tests.faults.command_processes import Stage
from tests.faults.figures import figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.faults.disk import Disk

WORK = scenarios.WORK


@dataclass(frozen=True)
class Story:
    """Commands that are recorded; some die, and with them what they had not yet synced is only in memory."""

    name: str
    prepare: Callable[[Stage], None]
    acts: tuple[tuple[tuple[str, ...], tuple[str, str] | None], ...]
    """The words, and the operation before which everybody dies: its name, and a part of its path."""
    runs: tuple[str, ...] = ("a",)
    check: Callable[[Stage], list[str]] = lambda _: []


def two_dropped(stage: Stage) -> None:
    scenarios.fresh(stage)
    scenarios.drop(stage, "a")
    scenarios.drop(stage, "b")


STORIES = (
    Story("life", scenarios.dropped, ((("ready",), None), (WORK, None))),
    Story("handing back", scenarios.to_be_handed_back, ((WORK, None), (WORK, None))),
    Story("overwriting", scenarios.done_before, ((("ready",), None),), check=scenarios.old_run_in_trash),
    Story(
        "an opening that died",
        two_dropped,
        ((("ready",), ("link", "/ConfigsToRun/b.yaml")), (("ready",), None)),
        ("a", "b"),
    ),
    Story(
        "a move that died",
        scenarios.dropped,
        ((("ready",), None), (WORK, ("unlink", "/Running/")), (WORK, None)),
    ),
    Story(
        "a checkpoint that was not synced when its worker died",
        scenarios.dropped,
        ((("ready",), None), (WORK, ("fsync", "/journal/000001.jsonl")), (WORK, None)),
    ),
)
WEAK_SPOTS = (
    # A claim's rename was there, but neither its journal file nor the end of the opening.
    ("life", ("fsync_folder", "/Running"), "a~g000001"),
    # An old name goes only when the new one is safe, so that at this moment there is nothing to keep.
    ("life", ("fsync_folder", "/Completed"), "a~g"),
    # The source was gone for good, when the link that another process had made was still in memory.
    ("an opening that died", ("unlink", "/opening/a.json"), None),
    # The intent was gone for good, and the half-made folder came back.
    ("an opening that died", ("create", "/opening/b.json"), None),
    # The second task had its checkpoint, and the first one's was still in memory.
    ("a checkpoint that was not synced when its worker died", ("link", "/Completed/"), None),
)
"""States in which something was once lost, or nearly: the story, the operation before which the power goes,
and the name that alone of all that was not synced is on the disk."""

every_story = pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name.replace(" ", "-"))


def recorded(stage: Stage, story: Story) -> Path:
    """Play a story and write down what happened."""
    story.prepare(stage)
    record = stage.folder / "record"
    record.unlink(missing_ok=True)
    for words, dies in story.acts:
        stage.act(*words, recorder=disk.Recorder(stage.workspace, record, dies))
    return record


def cut(
    folder: Path, story: Story, number: int, forgets: frozenset[str] = frozenset(), *, real_every: int = 0
) -> Iterator[tuple[str, list[str]]]:
    """Cut the power of a story in so many ways; each is yielded with what was found wrong after the recovery.

    Args:
        folder: where everything is made.
        story: what was going on.
        number: how many cuts.
        forgets: operations that do nothing on this disk.
        real_every: after every so many recoveries one is done by the real programs.
    """
    stage = Stage(folder / "played")
    record = recorded(stage, story)
    stages = [Stage(folder / "recovered"), Stage(folder / "recovered_by_programs", real=True)]
    chance = random.Random(6)
    last = sum(1 for _ in disk.followed(stage.workspace, record))
    cuts_at = Counter(chance.randrange(last) for _ in range(number))
    played = 0
    for moment, state in enumerate(disk.followed(stage.workspace, record, forgets)):
        left = list(state.states(max(cuts_at[moment], 5), chance))
        acknowledged = {
            (line["run"], line["task"]): line.get("result")
            for line in state.synced_lines()
            if line["event"] == "task_finished"
            and story.name != "overwriting"  # the old run has that name too
        }
        for changes, contents in chance.sample(left, min(len(left), cuts_at[moment])):
            played += 1
            recovery = stages[bool(real_every) and played % real_every == 0]
            shutil.rmtree(recovery.workspace, ignore_errors=True)
            state.materialise(recovery.workspace, changes, contents)
            yield f"{story.name}, cut at {moment}", judged(recovery, story, acknowledged)


def just_before(disks: Iterable[Disk], steps: list[disk.Step], operation: tuple[str, str]) -> Disk:
    """The disk before the first operation of a name at a path that holds a text."""
    name, path = operation
    return next(d for d, step in zip(disks, steps, strict=False) if step.name == name and path in step.path)


def judged(stage: Stage, story: Story, acknowledged: dict[tuple[str, str], Any]) -> list[str]:
    """Recover, and see what is wrong then."""
    before = promises.tokens(stage.workspace)
    lost = [f"{run} is nowhere" for run in story.runs if run not in before]
    try:
        scenarios.go_on(stage)
        ends = dict.fromkeys(story.runs, "Completed")
        return [*lost, *promises.violations(stage.workspace, ends, acknowledged), *story.check(stage)]
    except (AssertionError, OSError) as error:
        return [*lost, str(error)]


def violations(cuts: Iterable[tuple[str, list[str]]], part: str) -> list[str]:
    """All that was found wrong in some cuts, and the figures."""
    judged_cuts = list(cuts)
    wrong = [f"{where}: {what}" for where, found in judged_cuts for what in found]
    print(*wrong, sep="\n")
    figure("F6", f"{part}: states / findings", f"{len(judged_cuts)} / {len(wrong)}")
    return wrong


@pytest.mark.slow
@every_story
def test_no_power_cut_loses_or_doubles_anything(story: Story, folder: Path) -> None:
    assert violations(cut(folder, story, 36), story.name) == []


@pytest.mark.parametrize(("name", "operation", "kept"), WEAK_SPOTS)
def test_what_was_once_lost_is_not_lost_again(
    name: str, operation: tuple[str, str], kept: str | None, folder: Path
) -> None:
    story = next(s for s in STORIES if s.name == name)
    stage = Stage(folder / "played")
    record = recorded(stage, story)
    state = just_before(disk.followed(stage.workspace, record), disk.steps_of(record), operation)
    new = [c for c in state.changes if kept is not None and c.name.startswith(kept)]
    recovery = Stage(folder / "recovered")
    state.materialise(recovery.workspace, [*new, *(c.other for c in new if c.other)], {})
    assert judged(recovery, story, {}) == []


@pytest.fixture
def grouped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Two runs that are made durable by one call."""
    monkeypatch.setattr(opening, "MANY", 2)
    monkeypatch.setattr(GroupSync, "where_trusted", GroupSync)  # what this disk keeps is played, not real
    return Story("two opened together", two_dropped, ((("ready",), None),), ("a", "b"))


@pytest.mark.slow
def test_no_power_cut_loses_or_doubles_what_was_written_together(grouped: Story, folder: Path) -> None:
    assert violations(cut(folder, grouped, 36), grouped.name) == []


def test_what_was_written_together_and_never_synced_is_found_out(grouped: Story, folder: Path) -> None:
    stage = Stage(folder / "played")
    record = recorded(stage, grouped)
    states = disk.followed(stage.workspace, record, frozenset({"sync_file_system"}))
    state = just_before(states, disk.steps_of(record), ("unlink", "/opening/a.json"))
    recovery = Stage(folder / "recovered")
    state.materialise(recovery.workspace, [], {})
    assert judged(recovery, grouped, {}) != []


@pytest.mark.slow
@pytest.mark.parametrize(
    "forgets", [("fsync", "fsync_folder"), ("fsync",), ("fsync_folder",)], ids=" and ".join
)
def test_a_disk_that_is_never_asked_to_keep_anything_is_found_out(
    forgets: tuple[str, ...], folder: Path
) -> None:
    for number, (where, found) in enumerate(cut(folder, STORIES[0], 100, frozenset(forgets)), 1):
        if found:
            figure("F6", f"control without {' and '.join(forgets)}: found out at state", number)
            print(where, found)
            return
    pytest.fail("nothing was missed")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@every_story
def test_no_power_cut_of_many_loses_or_doubles_anything(story: Story, folder: Path) -> None:
    assert violations(cut(folder, story, 600, real_every=25), f"{story.name}, long") == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_no_power_cut_of_many_loses_or_doubles_what_was_written_together(
    grouped: Story, folder: Path
) -> None:
    assert violations(cut(folder, grouped, 600, real_every=25), f"{grouped.name}, long") == []
