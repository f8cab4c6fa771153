"""What was promised of a workspace, asked of its files alone: the product's own reading hides nothing."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PLACES = ("ConfigSources", "ConfigsToRun", "Running", "Completed", "Failed")


def tokens(workspace: Path) -> dict[str, list[str]]:
    """The places of each config, by the run that its token names, or else by its stem."""
    found: dict[str, list[str]] = {}
    for place in PLACES:
        for name in sorted(os.listdir(workspace / place)):
            if name.endswith(".yaml"):
                first = (workspace / place / name).read_bytes().partition(b"\n")[0].decode(errors="replace")
                _, queued, run = first.partition("# job_orchestration run: ")
                found.setdefault(run if queued else name.removesuffix(".yaml"), []).append(place)
    return found


def raw(run_folder: Path) -> list[dict[str, Any]]:
    """Every line of a run's journal that ends and parses, stale ones included."""
    found = []
    for path in sorted((run_folder / "journal").glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
    return found


def finished(run_folder: Path) -> dict[str, Any]:
    """What the finished tasks of a run returned."""
    return {e["task"]: e.get("result") for e in raw(run_folder) if e["event"] == "task_finished"}


def violations(
    workspace: Path, ends: Mapping[str, str], acknowledged: Mapping[tuple[str, str], Any] | None = None
) -> list[str]:
    """Everything that was promised and does not hold, after the recovery; empty when all is well.

    Args:
        workspace: at rest.
        ends: the place in which each run belongs now; its config has the same name.
        acknowledged: what tasks had returned when the crash came, by run and task: those never run again.
    """
    lying = tokens(workspace)
    found = [
        f"{run} lies in {lying.get(run, [])}, not in {ends.get(run)}"
        for run in sorted(ends.keys() | lying.keys())
        if lying.get(run, []) != [ends.get(run)]
    ]
    for run, end in ends.items():
        found += of_run(workspace / "Output" / run, completed=end == "Completed")
    for (run, task), result in (acknowledged or {}).items():
        if finished(workspace / "Output" / run).get(task) != result:
            found.append(f"{run}: the checkpoint of {task} was acknowledged and is gone")
    return [*found, *_locked(workspace), *_left_over(workspace)]


def of_run(folder: Path, *, completed: bool) -> list[str]:
    """What does not hold of one run."""
    found: list[str] = []
    try:
        events = raw(folder)
        tasks = [t["id"] for t in events[0]["values"]["tasks"]]
        token = (folder / "config.yaml").read_bytes()
        json.loads((folder / "provenance.json").read_bytes())
    except (OSError, ValueError, KeyError, IndexError) as error:
        return [f"{folder.name}: cannot be read ({error!r})"]
    if hashlib.sha256(token).hexdigest() != events[0]["digest"]:
        found.append(f"{folder.name}: config.yaml is not what was readied")
    times = Counter(e["task"] for e in events if e["event"] == "task_finished")
    wanted = dict.fromkeys(tasks, 1) if completed else {}
    if any(times[t] != n for t, n in wanted.items()) or any(n > 1 for n in times.values()):
        found.append(f"{folder.name}: finished {dict(times)}")
    ended: set[str] = set()
    for event in events:
        if event["event"] == "task_finished":
            ended.add(event["task"])
            found += _torn(folder, event.get("outputs", ()))
            if not (folder / event.get("folder", ".")).is_dir():
                found.append(
                    f"{folder.name}: the checkpoint of {event['task']} names a folder that is not there"
                )
        elif event["event"] == "task_started" and event["task"] in ended:
            found.append(f"{folder.name}: {event['task']} started again after it had finished")
    return found


def _torn(folder: Path, outputs: Iterable[Mapping[str, Any]]) -> list[str]:
    found = []
    for output in outputs:
        try:
            digest = hashlib.sha256((folder / output["path"]).read_bytes()).hexdigest()
        except OSError:
            digest = "nothing"
        if digest != output["sha256"]:
            found.append(f"{folder.name}: {output['path']} is not what the checkpoint says")
    return found


def _locked(workspace: Path) -> list[str]:
    """Claims that outlived their holders."""
    found = []
    for place in PLACES[1:]:
        for path in (workspace / place).iterdir():
            descriptor = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"{path.name} is still locked")
            finally:
                os.close(descriptor)
    return found


def _left_over(workspace: Path) -> list[str]:
    """Half-made things that a recovery is to take away."""
    return [f"Misc/opening/{name} is left over" for name in os.listdir(workspace / "Misc" / "opening")]
