"""F7: the power goes while everything is at work, on three file systems."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from job_orchestration.workspace import group_sync
from tests.faults import disks
from tests.faults.figures import figure
from tests.faults.powercut import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAIN = 25
"""Cuts of one disk, before a new one is made: journals are looked at after each."""


@contextmanager
def chain(folder: Path, kind: str, seed: int, *, sync: bool = True) -> Iterator[Chain]:
    """A workspace on a disk of a kind; all of it in memory, so that only the product waits for the disk."""
    ram = disks.Memory(folder / f"ram{seed}", "size=2g")
    disk = disks.Disk(ram.folder, kind)
    made = None
    try:
        disk.make()
        made = Chain(disk, ram.folder, seed, sync=sync)
        yield made
    finally:
        if made is not None:
            made.close()
        disk.close()
        ram.close()


def need(kind: str, folder: Path, *, long: bool = False) -> None:
    if long:
        disks.install(disks.KINDS[kind].make[0])
    reason = disks.why_not(kind, folder)
    if reason is not None:
        pytest.skip(reason)


def survive(folder: Path, kind: str, cuts: int) -> Counter[str]:
    """Cut the power so often, and see that nothing was lost; returns how much there was to lose."""
    seen: Counter[str] = Counter()
    for seed in range(0, cuts, CHAIN):
        with chain(folder, kind, seed) as made:
            if group_sync.reports_errors(platform.release()):
                assert group_sync.is_trusted(str(made.workspace)) is (kind != "btrfs")
            for _ in range(min(CHAIN, cuts - seed)):
                made.work()
                assert made.cut() == [], f"after cut {made.cuts} of chain {seed}"
            assert made.end() == [], f"at the end of chain {seed}"
            seen.update(cuts=made.cuts, runs=len(made.dropped))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cuts"), [("ext4", 4), ("xfs", 3), ("btrfs", 3)])
def test_what_was_reported_before_a_power_cut_is_so_after_it(tmp_path, kind, cuts):
    need(kind, tmp_path)
    seen = survive(tmp_path, kind, cuts)
    figure("F7", f"power cuts on {kind}, runs lost or acknowledged work undone", f"{seen['cuts']}, 0")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("kind", "cuts"), [("ext4", 150), ("ext4 without ordering", 100), ("xfs", 150), ("btrfs", 100)]
)
def test_what_was_reported_before_any_of_many_power_cuts_is_so_after_it(tmp_path, kind, cuts):
    need(kind, tmp_path, long=True)
    seen = survive(tmp_path, kind, cuts)
    figure(
        "F7",
        f"power cuts on {kind}; runs; lost or acknowledged work undone",
        f"{seen['cuts']}; {seen['runs']}; 0",
    )


def lost_without_sync(folder: Path, kind: str, most: int) -> tuple[int, list[str]]:
    """Cut the power where nothing is synced, until something is lost."""
    with chain(folder, kind, 1, sync=False) as made:
        for _ in range(most):
            made.work()
            lost = made.cut()
            if lost:
                return made.cuts, lost
        return made.cuts, []


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["ext4", *(pytest.param(k, marks=[pytest.mark.soak, pytest.mark.timeout(600)]) for k in disks.KINDS)],
)
def test_without_syncing_a_power_cut_loses_what_was_reported(tmp_path, kind):
    need(kind, tmp_path)
    cuts, lost = lost_without_sync(tmp_path, kind, 10)
    assert lost, "the cuts are too weak to show anything"
    figure(
        "F7",
        f"control without fsync on {kind}: cuts until something is lost, things lost",
        f"{cuts}, {len(lost)}",
    )


@pytest.mark.slow
@pytest.mark.parametrize("place", ["Running", "Completed", "waiting"])
def test_a_name_that_a_power_cut_brings_back_makes_no_second_token(workspace, drop, cli, place):
    """What btrfs does to a rename of which only the new folder was synced."""
    drop("a")
    cli("ready")
    old = workspace / "ConfigsToRun" / "a.yaml"
    if place == "Running":
        os.link(old, workspace / "Running" / "a~g000001~gone.1.abc.yaml")
    elif place == "waiting":
        os.link(old, workspace / "ConfigsToRun" / "a~held.yaml")
    else:
        cli("work", "--until-idle")
        os.link(workspace / "Completed" / "a.yaml", old)
    cli("work", "--until-idle")
    found = [f"{p.parent.name}/{p.name}" for p in sorted(workspace.glob("*/a*.yaml"))]
    assert found == ["ConfigsToRun/a~held.yaml" if place == "waiting" else "Completed/a.yaml"]


def test_a_drop_that_was_queued_is_removed_although_its_disk_has_another_number(workspace, drop, cli):
    """The device's number belongs to the boot, not to the disk."""
    source = drop("a")
    kept = source.with_name("kept")
    os.link(source, kept)
    cli("ready")
    identity = kept.stat()
    kept.rename(source)  # as if `ready` had died just before it removed the source
    intent = [
        {
            "run": "runs/a",
            "token": "a.yaml",
            "source": "a.yaml",
            "identity": [identity.st_dev + 1, identity.st_ino, identity.st_size, identity.st_mtime_ns],
        }
    ]
    (workspace / "Misc" / "opening" / "a.json").write_text(json.dumps(intent))
    assert "was queued as runs/a before" in cli("ready").stdout
    assert not source.exists()
    assert [p.name for p in (workspace / "ConfigsToRun").iterdir()] == ["a.yaml"]
