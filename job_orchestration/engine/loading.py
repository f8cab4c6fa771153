"""Getting the tasks' code into an interpreter: from the snapshot, and from nowhere else.

The work tree that a run was pinned from may have changed, or be gone. So every entry of `sys.path` that
points into it, and every mapping of an editable install, is pointed at the same place in the snapshot
before anything is imported; and after the imports no module may come from the work tree after all.
"""

from __future__ import annotations

import importlib
import os
import site
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from job_orchestration.engine import bytecode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE = __name__.partition(".")[0]
SPECIAL = dict.fromkeys(
    ("StartHyperparameterOptimization", "HyperparameterTrial", "HyperparameterEvaluate"),
    f"{PACKAGE}.specialTasks",
)
"""Methods that are not looked for in ``Tasks.py``, and the modules that have them."""


@dataclass(frozen=True, slots=True)
class CodePlan:
    """What a host imports: which code, and from where."""

    snapshot: str | None = None
    """The checkout of the commit; `None` when all methods are importable in the environment."""
    folder: str = "."
    """Where ``Tasks.py`` lies in it."""
    work_tree: str = ""
    """The work tree that it is a checkout of."""
    modules: tuple[str, ...] = ()
    """Modules that methods of the form ``package.module:Name`` name."""
    fallback: str = "/"
    """The working directory of tasks that have no snapshot."""
    bytecode: str = ""
    """The folder for the bytecode of the snapshot's modules; empty: it is kept beside them."""

    @property
    def tasks_folder(self) -> str:
        """The tasks' working directory."""
        return (
            self.fallback
            if self.snapshot is None
            else os.path.normpath(os.path.join(self.snapshot, self.folder))
        )

    def as_message(self) -> dict[str, Any]:
        """The plan as it goes to a host."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> CodePlan:
        """The plan as it came from a worker."""
        return cls(**{**message, "modules": tuple(message["modules"])})


def modules_named(methods: Iterable[str]) -> tuple[str, ...]:
    """The modules that a run's methods name, in order, each once."""
    found = (m.partition(":")[0] if ":" in m else SPECIAL.get(m) for m in methods)
    return tuple(dict.fromkeys(module for module in found if module))


def load(plan: CodePlan) -> None:
    """Import everything that the plan names, in the tasks' working directory.

    Raises:
        Exception: whatever the imports raise.
        ImportError: when a module comes from the work tree although there is a snapshot.
    """
    if plan.snapshot is not None:
        if plan.bytecode:
            bytecode.keep_apart(plan.snapshot, plan.bytecode)
        _map_to_snapshot(plan.work_tree, plan.snapshot)
        sys.path.insert(0, plan.tasks_folder)
    os.chdir(plan.tasks_folder)
    if plan.snapshot is not None:
        importlib.import_module("Tasks")
    for module in plan.modules:
        importlib.import_module(module)
    if plan.snapshot is not None:
        _refuse_work_tree(plan.work_tree, plan.snapshot)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _mapped(path: str, work_tree: str, snapshot: str) -> str:
    """Where a path of the work tree lies in the snapshot, when the commit has it; otherwise the path itself.

    What the commit does not have, such as a virtual environment inside the work tree, is no code of the
    tasks.
    """
    real = os.path.realpath(path)
    if not path or not _below(real, work_tree):
        return path
    inside = os.path.normpath(os.path.join(snapshot, os.path.relpath(real, work_tree)))
    return inside if os.path.exists(inside) else path


def _map_to_snapshot(work_tree: str, snapshot: str) -> None:
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:] = [p if p == own else _mapped(p, work_tree, snapshot) for p in sys.path]
    for finder in sys.meta_path:
        module = sys.modules.get(getattr(finder, "__module__", ""))
        mapping = getattr(module, "MAPPING", None)
        if isinstance(mapping, dict):  # an editable install by setuptools
            for name, path in mapping.items():
                if name != PACKAGE:
                    mapping[name] = _mapped(path, work_tree, snapshot)
                    if mapping[name] != path:
                        sys.dont_write_bytecode = True  # that finder knows nothing of any cache


def _refuse_work_tree(work_tree: str, snapshot: str) -> None:
    packages = [
        os.path.realpath(p) for p in (*site.getsitepackages(), site.getusersitepackages(), sys.prefix)
    ]
    if _below(os.path.realpath(snapshot), work_tree):
        packages.append(os.path.realpath(snapshot))
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or name.partition(".")[0] == PACKAGE:
            continue
        real = os.path.realpath(path)
        if _below(real, work_tree) and not any(_below(real, p) for p in packages):
            raise ImportError(
                f"module {name} comes from the work tree ({real}) and not from the commit that is pinned. "
                "Commit that file, or install its package without --editable"
            )


def resolve(method: str) -> type[Any]:
    """The class that a config's ``method`` means; its module has been imported.

    Raises:
        LookupError: with a sentence that says what there is instead.
    """
    module_name, _, name = method.rpartition(":")
    module_name = module_name or SPECIAL.get(method, "")
    module = sys.modules.get(module_name or "Tasks")
    where = f"module {module_name}" if module_name else "Tasks.py"
    if module is None:
        raise LookupError(f"{where} was not imported")
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        classes = [
            n for n, v in vars(module).items() if isinstance(v, type) and callable(getattr(v, "run", None))
        ]
        from difflib import get_close_matches  # 2 ms of each host that almost none needs

        close = get_close_matches(name, classes, 1)
        hint = (
            f"Did you mean {close[0]}?"
            if close
            else f"It has: {', '.join(sorted(classes)) or 'no task at all'}"
        )
        raise LookupError(f"{where} has no class {name}. {hint}")  # noqa: TRY004  # it is not there
    if not callable(getattr(found, "run", None)):
        what = f"{name} in {where} has no method run. Derive it from job_orchestration.TaskBase"
        raise LookupError(what)  # noqa: TRY004  # no task of that name
    return found


def thread_count() -> int:
    """How many threads this process has, those of C libraries included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()
