"""Run exported experiments again with plain Python: ``python run.py [RUN] [--to FOLDER]``.

This file lies in every export as ``run.py``. It needs Python 3.11 and the packages that the tasks import, but
not job_orchestration: it has a stand-in for what tasks import from it (`TaskBase`, `self.context`, errors).
The tasks run one after another in this process, in a copy of the code as it ran, with the recorded config and
seed. What each returns is compared with what it returned then.

Not the same: there are no checkpoints, tries, time limits or memory limits, and no process of its own for
each run. Packages and Python are those that you start it with.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import importlib
import inspect
import json
import logging
import math
import os
import random
import shutil
import sys
import types
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
PACKAGE: Final = "job_orchestration"
BUILT_IN: Final = ("StartHyperparameterOptimization", "HyperparameterTrial", "HyperparameterEvaluate")
"""Methods that the package has itself."""
_MOST_SHOWN: Final = 300


class PermanentError(Exception):
    """Stands for the error of this name."""


class TemporaryError(Exception):
    """Stands for the error of this name."""

    def __init__(self, message: object = "", delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class PrunedError(Exception):
    """Stands for the error of this name."""


class TaskBase:
    """Stands for the class that tasks derive from."""

    reusable = True
    preload_keys = ()
    context: Context

    def __init__(self, config: dict[str, Any]) -> None:
        """Keep the config."""
        self.config = config

    def validate(self) -> list[str]:
        """Find nothing wrong."""
        return []

    def run(self) -> Any:
        """Do the work."""
        raise NotImplementedError


class Store:
    """The files of a task."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Return the folder; made on first use."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def path(self, name: str) -> Path:
        """Return the path of a file, below folders that exist."""
        path = Path(os.path.normpath(self.folder / name))
        if os.path.isabs(name) or self._folder not in path.parents:
            raise ValueError(f"{name!r} is not a name inside the task's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_json(self, name: str, value: object) -> Path:
        """Save a value as JSON."""
        return self.save_text(name, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")

    def save_text(self, name: str, text: str) -> Path:
        """Save text as UTF-8."""
        return self.save_bytes(name, text.encode("utf-8"))

    def save_bytes(self, name: str, data: bytes) -> Path:
        """Save bytes."""
        path = self.path(name)
        path.write_bytes(data)
        return path


class Context:
    """What a running task can use of its run."""

    attempt = 1
    should_stop = False
    preloaded: Any = None

    def __init__(self, run: str, seed: int, folder: Path, results: dict[str, Any]) -> None:
        self.run = run
        self.seed = seed
        self._folder = folder
        self._results = results
        self._task = ""
        self.log = logging.getLogger(PACKAGE)
        self.store = Store(folder)

    def begin(self, task: str) -> None:
        """Turn to a task."""
        self._task = task
        self.log = logging.getLogger(task)
        self.store = Store(self._folder / task)

    @property
    def resume_dir(self) -> Path:
        """Return an empty folder for checkpoints of a task's own."""
        path = self._folder / ".resume" / self._task
        path.mkdir(parents=True, exist_ok=True)
        return path

    def progress(self, done: float, total: float | None = None, *, metric: float | None = None) -> None:
        """Show the progress on a terminal; no search looks at the metric."""
        del metric
        if sys.stderr.isatty():
            shown = f"{done:g}" if total is None else f"{done:g} of {total:g}"
            print(f"\r{self._task}: {shown}", end="", file=sys.stderr)

    def result_of(self, task_id: str) -> Any:
        """Return what an earlier task returned."""
        return json.loads(json.dumps(self._results[task_id]), object_hook=_float)

    def folder_of(self, task_id: str) -> Path:
        """Return the folder of the files of an earlier task."""
        if task_id not in self._results or not (self._folder / task_id).is_dir():
            raise KeyError(task_id)
        return self._folder / task_id

    def load_json(self, task_id: str, name: str) -> Any:
        """Return a value that an earlier task saved with ``store.save_json``."""
        text = (self.folder_of(task_id) / name).read_text(encoding="utf-8")
        return json.loads(text, object_hook=_float)


class Function:
    """A plain function as a task."""

    def __init__(self, function: Any, config: dict[str, Any]) -> None:
        self._function, self._config = function, config

    def run(self) -> Any:
        """Call it."""
        return self._function(*(self._config.get("args") or ()), **(self._config.get("kwargs") or {}))


def stand_in() -> None:
    """Make the names that tasks import from the package importable without it."""
    public = {
        "TaskBase": TaskBase,
        "Context": Context,
        "Store": Store,
        "PermanentError": PermanentError,
        "TemporaryError": TemporaryError,
        "PrunedError": PrunedError,
        "__version__": "0",
        "__path__": [],
    }
    package = types.ModuleType(PACKAGE)
    vars(package).update(public)
    module = types.ModuleType(f"{PACKAGE}.TaskBase")
    vars(module).update({name: public[name] for name in ("TaskBase", "Context", "Store")})
    sys.modules[PACKAGE] = package
    sys.modules[module.__name__] = module
    vars(package)["TaskBase"] = TaskBase


def plain(value: Any) -> Any:
    """Return a value as JSON can say it, nearly as the journal of a run keeps it."""
    if value is None or isinstance(value, bool | int | float | str):
        is_odd = isinstance(value, float) and not math.isfinite(value)
        return {"$float": str(value)} if is_odd else value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        inner = [plain(one) for one in value]
        return sorted(inner, key=str) if isinstance(value, set | frozenset) else inner
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    for method in ("tolist", "isoformat"):
        value = getattr(value, method)() if callable(getattr(value, method, None)) else value
    return plain(value) if isinstance(value, list | int | float) else str(value)[:_MOST_SHOWN]


def _float(value: dict[str, Any]) -> Any:
    return float(value["$float"]) if value.keys() == {"$float"} else value


def seed_everything(seed: int) -> None:
    """Seed ``random``, NumPy and PyTorch, those that are installed."""
    random.seed(seed)
    for name, call in (("numpy.random", "seed"), ("torch", "manual_seed")):
        try:
            getattr(importlib.import_module(name), call)(seed)
        except ImportError:
            continue


def class_of(method: str) -> Any:
    """Return the class that a method of a config names."""
    module, colon, name = method.rpartition(":")
    if not colon:
        module = f"{PACKAGE}.specialTasks" if method in BUILT_IN else "Tasks"
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name == PACKAGE:
            sys.exit(f"{method} is a task of {PACKAGE} itself. Install it: pip install job-orchestration")
        raise


def preloaded(kind: Any, config: dict[str, Any]) -> Any:
    """Return what the class of a task loads before it runs; `None` if that is nothing."""
    if not isinstance(inspect.getattr_static(kind, "preload", None), classmethod | staticmethod):
        return None
    names = getattr(kind, "preload_keys", ())
    keys = (names,) if isinstance(names, str) else names
    return kind.preload(json.loads(json.dumps({key: config[key] for key in keys if key in config})))


def _submitted(value: Any, run: str, folder: Path) -> Any:
    """Return where a file lies that was submitted with the run; any other value as it is."""
    before, _, name = value.rpartition("/") if isinstance(value, str) else ("", "", "")
    own = folder / "inputs" / name
    return str(own) if before.endswith(f"/Output/{run}/inputs") and own.is_file() else value


def other_commits(run: dict[str, Any]) -> dict[str, str]:
    """Return the tasks that ran in another commit than the last ones, before their run was retried."""
    try:
        found = json.loads((HERE / "runs" / run["run"] / "provenance.json").read_text(encoding="utf-8"))
        commits = found.get("task_commits", {})
        return {task: str(commit) for task, commit in commits.items() if commit != run["commit"]}
    except (OSError, ValueError, AttributeError):
        return {}


def run_tasks(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the tasks of a run; return what each returned."""
    values = run["values"]
    results: dict[str, Any] = {}
    context = Context(run["run"], run["seed"], folder, results)
    for spec in values["tasks"]:
        if "foreach" in spec or "argsList" in spec:
            sys.exit(
                f"{spec['id']} runs once for each element, which needs {PACKAGE}: job-orchestration import"
            )
        config = json.loads(json.dumps({**values, **spec, "outputDir": str(folder)}), object_hook=_float)
        kind = class_of(spec["method"])
        config = {key: _submitted(value, run["run"], folder) for key, value in config.items()}
        seed_everything(run["seed"])
        task: Any = kind(config) if isinstance(kind, type) else Function(kind, config)
        context.begin(spec["id"])
        context.preloaded = preloaded(kind, config)
        task.context = context
        print(f"{spec['id']}: {spec['method']}")
        found = task.run()
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
        results[spec["id"]] = plain(found)
        before = run["results"].get(spec["id"])
        same = json.dumps(results[spec["id"]], sort_keys=True) == json.dumps(before, sort_keys=True)
        shown = json.dumps(results[spec["id"]], ensure_ascii=False)[:_MOST_SHOWN]
        print(f"{spec['id']}: {'the same result as recorded' if same else 'ANOTHER RESULT'}: {shown}")
    return results


def changed_files(manifest: dict[str, Any]) -> list[str]:
    """Return the files of the export that are not what its list says."""
    found = []
    for name, (_, digest) in manifest["files"].items():
        path = HERE / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            found.append(name)
    return found


def _chosen(manifest: dict[str, Any], name: str | None) -> dict[str, Any]:
    runs = {run["run"]: run for run in manifest["runs"]}
    if name is None and len(runs) == 1:
        return dict(next(iter(runs.values())))
    if name not in runs:
        sys.exit(f"Name one of these runs: {', '.join(runs)}")
    return dict(runs[name])


def _prepare(run: dict[str, Any], folder: Path) -> None:
    """Make the folder of outputs, and enter a copy of the code in it."""
    folder.mkdir(parents=True)
    submitted = HERE / "runs" / run["run"] / "inputs"
    if submitted.is_dir():
        shutil.copytree(submitted, folder / "inputs")
    work = folder / "working_directory"
    if run["commit"] is None:
        work.mkdir()
    else:
        shutil.copytree(HERE / "code" / run["commit"] / "files", work)
    stand = work / run["tasks_folder"]
    os.chdir(stand)
    sys.path.insert(0, str(stand))


def main() -> int:
    """Run one of the exported runs again."""
    parser = argparse.ArgumentParser(description="Run an exported experiment again with plain Python.")
    parser.add_argument("run", nargs="?", help="which run, if there are several")
    parser.add_argument("--to", metavar="FOLDER", help="where outputs go; default: again/RUN")
    parser.add_argument("--check", action="store_true", help="only compare the files with their digests")
    given = parser.parse_args()
    manifest = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
    if given.check:
        changed = changed_files(manifest)
        print("\n".join(changed) or "All files are as they were exported.")
        return 1 if changed else 0
    run = _chosen(manifest, given.run)
    folder = Path(given.to or HERE / "again" / run["run"]).resolve()
    if folder.exists():
        sys.exit(f"{folder} is there already. Name another folder with --to")
    methods = [str(spec["method"]) for spec in run["values"]["tasks"]]
    if not any(method.startswith(f"{PACKAGE}.") or method in BUILT_IN for method in methods):
        stand_in()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    _prepare(run, folder)
    for task, commit in other_commits(run).items():
        print(
            f"{task} ran in commit {commit[:12]} then; here it runs in {run['commit'][:12]} as the others do."
        )
    results = run_tasks(run, folder)
    (folder / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(f"Outputs: {folder}")
    same = json.dumps(results, sort_keys=True) == json.dumps(run["results"], sort_keys=True)
    print("Every result is the same as recorded." if same else "Some results differ from those recorded.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
