"""Import the code of tasks from their snapshot, and from nowhere else.

The work tree that a run was pinned from may have changed, or be gone. So before the imports, every entry of
`sys.path` and every mapping of an editable install that points into the work tree is redirected to the same
place in the snapshot. After the imports, no module may come from the work tree.
"""

from __future__ import annotations

import importlib
import os
import site
import sys
import threading
from dataclasses import asdict, dataclass
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.code import imported_files
from job_orchestration.code.tasks_file import has_tasks_file
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType

PACKAGE = __name__.partition(".")[0]
SPECIAL = dict.fromkeys(
    ("StartHyperparameterOptimization", "HyperparameterTrial", "HyperparameterEvaluate"),
    f"{PACKAGE}.specialTasks",
)
"""Methods that are not looked for in ``Tasks.py``, and the modules that have them."""


def need_tasks_file(methods: Iterable[str]) -> bool:
    """Return whether methods name a class in ``Tasks.py``; without any method it is needed, too."""
    names = list(methods)
    return not names or any(":" not in name and name not in SPECIAL for name in names)


@dataclass(frozen=True, slots=True)
class CodePlan:
    """The code that a fork server imports, and its place."""

    snapshot: str | None = None
    """The checkout of the commit; `None` when all methods are importable in the environment."""
    folder: str = "."
    """The folder of ``Tasks.py`` in the snapshot."""
    work_tree: str = ""
    """The work tree that the commit was pinned from."""
    modules: tuple[str, ...] = ()
    """Modules that methods of the form ``package.module:Name`` name."""
    fallback: str = "/"
    """Where the imports of a plan that has neither a snapshot nor `imports` are executed."""
    bytecode: str = ""
    """The folder for the bytecode of the snapshot's modules; empty: it is kept beside them."""
    imports: str = ""
    """The folder in which a fork server makes the working directory of the imports."""
    is_observed: bool = False
    """Whether it is noted what the tasks read: see `observed_reads`."""

    interpreter: str = ""
    """The Python that the tasks run in; empty: that of the worker."""

    @property
    def below_top(self) -> str:
        """The end of the path of the folder of ``Tasks.py`` that lies in its commit."""
        return "" if self.folder == "." else os.path.normpath(os.path.join(os.sep, self.folder))

    @property
    def tasks_folder(self) -> str:
        """The folder of ``Tasks.py`` in the snapshot."""
        return (
            self.fallback
            if self.snapshot is None
            else os.path.normpath(os.path.join(self.snapshot, self.folder))
        )

    def as_message(self) -> dict[str, Any]:
        """Return the plan as a message to a fork server."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> CodePlan:
        """Return the plan in a message from a worker."""
        return cls(**{**message, "modules": tuple(message["modules"])})


def modules_named(methods: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that a run's methods name, in order, each once."""
    found = (m.partition(":")[0] if ":" in m else SPECIAL.get(m) for m in methods)
    return tuple(dict.fromkeys(module for module in found if module))


def load(plan: CodePlan) -> None:
    """Import everything that the plan names, in the working directory that the caller has entered.

    Raises:
        Exception: whatever the imports raise.
        ImportError: when a module comes from the work tree although there is a snapshot, or only the work
            tree has it.
    """
    if plan.is_observed:
        from job_orchestration.code import observed_reads

        observed_reads.start(os.getcwd().removesuffix(plan.below_top))
    if plan.snapshot is not None:
        if plan.bytecode:
            keep_apart(plan.snapshot, plan.bytecode)
        _map_to_snapshot(plan.work_tree, plan.snapshot)
        sys.path.insert(0, plan.tasks_folder)
    sys.path.append("")  # what a task writes into its working directory can be imported by the same run
    _LOADED[:] = [plan]
    try:
        if plan.snapshot is not None and (not plan.modules or has_tasks_file(plan.tasks_folder)):
            importlib.import_module("Tasks")
        for module in plan.modules:
            importlib.import_module(module)
    except (ImportError, FileNotFoundError) as error:
        known = explanation(error)
        if known is None:
            raise
        raise ImportError(known) from error
    if plan.snapshot is not None:
        _refuse_work_tree(plan.work_tree, plan.snapshot)
    imported_files.start(plan.snapshot)
    if plan.is_observed:
        observed_reads.imports_are_done()


_LOADED: Final[list[CodePlan]] = []
"""The plan of this process, once `load` was called."""


def volatile_of(method: str) -> tuple[str, ...]:
    """Return what the class of a task says is another each time: see `TaskBase.volatile`."""
    found = getattr(resolve(method), "volatile", ())
    return tuple(map(str, found)) if isinstance(found, (tuple, list)) else ()


def loaded() -> CodePlan | None:
    """Return the plan that this process has loaded."""
    return _LOADED[0] if _LOADED else None


def explanation(error: BaseException) -> str | None:
    """Return a sentence if an error is about a module or a file that only the work tree has."""
    if not _LOADED or not isinstance(error, (ImportError, FileNotFoundError)):
        return None
    from job_orchestration.code import uncommitted_modules

    plan = _LOADED[0]
    if plan.snapshot is None:
        return None
    return uncommitted_modules.explanation(error, plan.work_tree, plan.snapshot, plan.tasks_folder)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _mapped(path: str, work_tree: str, snapshot: str) -> str:
    """Return the place of a work tree's path in the snapshot, or the path itself if the commit lacks it.

    Files that the commit lacks, such as a virtual environment inside the work tree, are not code of the
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
    """Return the class that a config's ``method`` names; its module has been imported.

    A function is wrapped as a class.

    Raises:
        LookupError: if there is none; the message lists the classes that exist.
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
    if not isinstance(found, type) and callable(found):
        from job_orchestration.code import function_tasks

        return function_tasks.class_of(found, name)
    if not isinstance(found, type):
        classes = [
            n for n, v in vars(module).items() if isinstance(v, type) and callable(getattr(v, "run", None))
        ]
        near = nearest_names(name, classes)
        hint = did_you_mean(near) if near else f"It has: {', '.join(sorted(classes)) or 'no task at all'}"
        raise LookupError(f"{where} has no class {name}. {hint}")  # noqa: TRY004  # it is not there
    if not callable(getattr(found, "run", None)):
        what = f"{name} in {where} has no method run. Derive it from job_orchestration.TaskBase"
        raise LookupError(what)  # noqa: TRY004  # no task of that name
    return found


def thread_count() -> int:
    """Return the number of threads of this process, including those of C libraries."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


_ONE_AT_A_TIME: Final = RLock()


def keep_apart(folder: str, cache: str) -> None:
    """Keep the bytecode of a folder's modules in a cache; bytecode of other modules stays where it is.

    Programs that tasks start write none: they would write it beside the modules of the snapshot.

    Args:
        folder: an absolute path.
        cache: a folder that need not exist.
    """

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType | None:
            with _ONE_AT_A_TIME:  # tasks may import in threads
                before = sys.pycache_prefix, sys.dont_write_bytecode
                sys.pycache_prefix, sys.dont_write_bytecode = cache, False
                try:
                    return super().get_code(fullname)
                finally:
                    sys.pycache_prefix, sys.dont_write_bytecode = before

    tops = tuple(f"{top.rstrip(os.sep)}{os.sep}" for top in (folder, os.path.realpath(folder)))

    def is_below(path: str) -> bool:
        return f"{os.path.abspath(path)}{os.sep}".startswith(tops)

    def finder(path: str) -> FileFinder:
        if not is_below(path) or not os.path.isdir(path):  # an archive is for the finder of archives
            raise ImportError(f"{path} is no folder below {folder}")
        return FileFinder(
            path,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (Loader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    os.register_at_fork(
        before=_ONE_AT_A_TIME.acquire,  # or a child has another thread's lock and switches for ever
        after_in_child=_ONE_AT_A_TIME.release,
        after_in_parent=_ONE_AT_A_TIME.release,
    )
    sys.path_hooks.insert(0, finder)
    for path in filter(is_below, list(sys.path_importer_cache)):
        del sys.path_importer_cache[path]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
