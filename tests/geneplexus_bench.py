"""A bench to run GenePlexus's tasks on, with a context of plain files.

`run_configs` is the one place that knows how configs become output folders.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

MODULE = "job_orchestration.geneplexus"
TASKS = [
    {"id": "load", "method": f"{MODULE}:LoadGeneset"},
    {"id": "run", "method": f"{MODULE}:RunGenePlexus"},
    {"id": "save", "method": f"{MODULE}:SaveResults"},
]


class PlainStore:
    """A store that writes at once."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_json(self, name, value):
        return self.save_text(name, json.dumps(value, allow_nan=False))

    def save_text(self, name, text):
        return self.save_bytes(name, text.encode())

    def save_bytes(self, name, data):
        path = self.path(name)
        path.write_bytes(data)
        return path


class PlainContext:
    """A context without a journal: results are files beside the tasks' folders."""

    attempt, seed, should_stop = 1, 0, False

    def __init__(self, output, task_id):
        self.output, self.run, self.task_id = Path(output), Path(output).name, task_id
        self.log = logging.getLogger(f"bench.{self.run}")
        self.printed = []
        self.store = PlainStore(self.folder_of(task_id))

    @property
    def resume_dir(self):
        path = self.output / ".resume" / self.task_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def progress(self, done, total=None, **metrics):
        self.printed.append((done, total))

    def folder_of(self, task_id):
        return self.output / task_id

    def result_of(self, task_id):
        return json.loads((self.output / f"{task_id}.result.json").read_text())


def config_of(output, **keys):
    """A config of the three tasks, without any task's own keys."""
    return {"outputDir": str(output), "tasks": TASKS, **keys}


def task_of(config, task_id):
    """A task, made of its class and the config as the engine does."""
    import job_orchestration.geneplexus as package

    entry = next(one for one in config["tasks"] if one["id"] == task_id)
    return getattr(package, entry["method"].rpartition(":")[2])({**config, **entry})


def run_task(config, task_id, context=PlainContext):
    """Run one task; its result is kept for the tasks after it."""
    output = Path(config["outputDir"])
    output.mkdir(parents=True, exist_ok=True)
    task = task_of(config, task_id)
    task.context = context(output, task_id)
    result = task.run()
    text = json.dumps(result, allow_nan=False)
    assert len(text) < 2**20
    (output / f"{task_id}.result.json").write_text(text)
    return result


def problems_of(config):
    """What all tasks of a config find wrong with it, without warnings."""
    return [one for one in _all_said_of(config) if isinstance(one, str)]


def warnings_of(config):
    """What all tasks of a config warn of."""
    return [str(one) for one in _all_said_of(config) if isinstance(one, Warning)]


def _all_said_of(config):
    return [found for entry in config["tasks"] for found in task_of(config, entry["id"]).validate()]


def run_configs(configs):
    """Run configs from their checks to their output folders.

    Returns:
        The folder of each run's `SaveResults`, in the order of the configs.
    """
    for config in configs:
        problems = problems_of(config)
        assert problems == [], problems
        for entry in config["tasks"]:
            run_task(config, entry["id"])
    return [Path(config["outputDir"]) / config["tasks"][-1]["id"] for config in configs]
