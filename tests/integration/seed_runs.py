"""Runs as the new release leaves them, made by hand for those who only read them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.runs import event_codec, events, journal
from job_orchestration.runs.events import JournalEntry


def make_run(
    root: Path, name: str, *, x: int = 1, score: float | None = None, status: str = "COMPLETE"
) -> Path:
    """A run of one task, complete or running, with results when there is a score; returns its folder."""
    folder = root / "Output" / name
    (folder / "journal").mkdir(parents=True)
    tasks = [{"id": "train", "method": "Train", "epochs": 5}]
    values = {"githubRepository": "https://example.org/me/SimpleML.git", "pathToTasks": "/code", "x": x}
    values |= {"outputDir": name, "tasks": tasks}
    data = to_yaml(values, f"job_orchestration run: {name}")
    (folder / "config.yaml").write_bytes(data)
    (root / "Completed" / f"{name.replace('/', '_')}.yaml").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    found = [events.Readied(name, digest, values, 7, events.Code("c" * 40, "."))]
    begun = [events.Claimed(1, "lab.1.abc", "lab", 1, {0: 1}), events.TaskStarted("train", 1)]
    if status == "COMPLETE":
        begun += [events.TaskFinished("train", 1.0, 0.5), events.Completed()]
    for number, written in ((0, found), (1, begun)):
        entries = [
            JournalEntry(i, f"2026-11-20T05:00:0{i}.000000+00:00", e) for i, e in enumerate(written, 1)
        ]
        Path(journal.path_of(str(folder), number)).write_bytes(b"".join(map(event_codec.encode, entries)))
    if score is not None:
        (folder / "results.yaml").write_text(yaml.dump({"score": score}))
    return folder
