"""`Job`: a function with its arguments, to be called here or queued as a run; in DL jobs it is `DLJob`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from job_orchestration.code import function_tasks
from job_orchestration.code.function_tasks import ERROR, is_error
from job_orchestration.config import elements
from job_orchestration.diagnostics.errors import ConfigRefusedError
from job_orchestration.functions import argument_lists, nd_json
from job_orchestration.functions.timer import Timer
from job_orchestration.workspace import clock, durable, layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OF_PLATFORM: Final = ("cpu_image", "gpu_image", "modules", "requirements", "data")
"""Parameters that were for the platform of Descartes Labs."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job: results and errors if it was run here, the name of its run if it was queued."""

    results: list[Any] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    run: str | None = None
    files: tuple[str, ...] = ()
    """The files with results, errors and the log, as far as there are some."""


class Job:
    """A function with its arguments.

    Args:
        module_name: the module, such as ``science.gpu``.
        method_name: its function.
        args: positional arguments of one call; ``args=[…]`` means the same.
        args_list: calls the function once for each element: a list of lists, dicts or single values; a range,
            or a number of elements.
        platform_job: whether `run` queues a run in the workspace instead of calling the function here.
        cpu_job: whether it needs no GPU.
        gpus: the GPUs that a queued run takes, unless it is a `cpu_job`.
        name: names the files and the queued run; default: the function.
        noisy: whether the lines of the log are printed, too.
        save_results: whether results are written, one JSON value a line, or the name of the file.
        save_errors: the same for errors: exceptions, texts that begin with ERROR, and dicts with ERROR.
        results_dir: the folder of the results.
        errors_dir: the folder of the errors.
        results_timestamp: whether the name of the files has the time in it.
        log: whether a log is written, or the name of the file.
        log_dir: the folder of the log.
        suppress: lines of the log that contain one of these words are left out.
        workspace: the workspace of a queued run; default: the one of the environment, or around this folder.
        parallel: how many elements of a queued run run at a time; ``auto``: one for each CPU.
        kwargs: keyword arguments of each call. ``cpu_image``, ``gpu_image``, ``modules``, ``requirements``
            and ``data`` were for the platform of Descartes Labs: they are accepted with a warning.
    """

    is_job = True

    def __init__(
        self,
        module_name: str,
        method_name: str = "task",
        *args: Any,
        args_list: Any = None,
        platform_job: bool = False,
        cpu_job: bool = True,
        gpus: int | None = None,
        name: str | None = None,
        noisy: bool = True,
        save_results: bool | str = True,
        save_errors: bool | str = True,
        results_dir: str = "results",
        errors_dir: str = "errors",
        results_timestamp: bool = False,
        log: bool | str = True,
        log_dir: str = "logs",
        suppress: Sequence[str] = (),
        workspace: str | os.PathLike[str] | None = None,
        parallel: int | str = 1,
        **kwargs: Any,
    ) -> None:
        for unused in _OF_PLATFORM:
            if kwargs.pop(unused, None) is not None:
                what = f"{unused} has no effect: it was for the platform of Descartes Labs"
                warnings.warn(what, UserWarning, stacklevel=2)
        if cpu_job and gpus:
            warnings.warn(f"gpus={gpus} has no effect on a cpu_job", UserWarning, stacklevel=2)
        self.module_name = module_name
        self.method_name = method_name
        self.args = [*args, *kwargs.pop("args", ())]
        self.kwargs = kwargs
        self.args_list = None if args_list is None else _elements_of(args_list)
        self.platform_job = platform_job
        self.gpus = 0 if cpu_job else (gpus or 0)
        self.name = name or method_name
        self.parallel = parallel
        self.workspace = workspace
        self._noisy = noisy
        self._suppressed = tuple(word.lower() for word in suppress)
        stamp = f".{clock.local_now():%Y%m%dT%H%M%S}" if results_timestamp else ""
        self._results = _path_of(save_results, results_dir, f"{self.name}{stamp}", "ndjson")
        self._errors = _path_of(save_errors, errors_dir, f"{self.name}{stamp}", "ndjson")
        self._log = _path_of(log, log_dir, f"{self.name}{stamp}", "log")

    def map(self, values: Any) -> JobResult:
        """Run the function once for each value, as with `args_list`."""
        self.args_list = _elements_of(values)
        return self.run()

    def run(self) -> JobResult:
        """Call the function here, or queue a run if it is a `platform_job`.

        Raises:
            ConfigRefusedError: the run was refused, with all ``problems``.
            ImportError: there is no such module.
            AttributeError: the module has no such function.
            OSError: a file cannot be written.
        """
        return self._queue() if self.platform_job else self.run_here()

    def run_here(self) -> JobResult:
        """Call the function in this process; what it raises is the error of one element."""
        function, timer = self._function(), Timer()
        results: list[Any] = []
        errors: list[dict[str, Any]] = []
        with _Files() as files:
            self._say(files, f"start: {timer.start()}")
            for config in self._configs():
                value, error = _called(function, config)
                if error is None:
                    results.append(value)
                    files.add(self._results, nd_json.line_of(value))
                else:
                    errors.append(error)
                    files.add(self._errors, nd_json.line_of(error))
                    self._say(files, f"ERROR: {error.get('TYPE', '')} {error[ERROR]}")
            timer.stop()
            self._say(files, f"{len(results)} results, {len(errors)} errors, duration: {timer.duration()}")
        return JobResult(results, errors, files=tuple(files.made))

    def _configs(self) -> Iterator[dict[str, Any]]:
        config = {"args": self.args, "kwargs": self.kwargs}
        if self.args_list is None:
            yield config
        for index, element in enumerate(self.args_list or ()):
            yield elements.values_for(config, element, index, spread=False)

    def _function(self) -> Any:
        here = os.getcwd()
        sys.path.append(here)
        try:
            return getattr(importlib.import_module(self.module_name), self.method_name)
        finally:
            with suppress(ValueError):
                sys.path.remove(here)

    def _say(self, files: _Files, line: str) -> None:
        if any(word in line.lower() for word in self._suppressed):
            return
        files.add(self._log, line)
        if self._noisy:
            sys.stdout.write(f"{self.name}: {line}\n")

    def _queue(self) -> JobResult:
        from job_orchestration.commands.run import FunctionCall, run

        root = self.workspace or os.environ.get(layout.VARIABLE) or layout.enclosing(os.getcwd())
        workspace = layout.prepare(layout.locate(os.fspath(root)).root)
        method = f"{self.module_name}:{self.method_name}"
        call = FunctionCall(method, self.args, self.kwargs, self.args_list, self.parallel)
        report = run(
            workspace,
            call,
            os.getcwd(),
            parameters={"resources": {"gpus": self.gpus}} if self.gpus else None,
        )
        if report.refused:
            raise ConfigRefusedError([problem for found in report.refused.values() for problem in found])
        return JobResult(run=report.queued[0].run)


DLJob = Job


def _elements_of(values: Any) -> list[Any]:
    """Return the elements of an `args_list`; a range in it stands for its numbers."""
    if isinstance(values, int):
        return list(range(values))
    found: list[Any] = []
    for value in values:
        found.extend(value if isinstance(value, range) else [value])
    return found


def _called(function: Any, config: Mapping[str, Any]) -> tuple[Any, dict[str, Any] | None]:
    """Call the function; return its result, or the error."""
    args, kwargs = function_tasks.arguments_of(function, config)
    called = {"ARGS": args, "KWARGS": kwargs}
    try:
        value = function_tasks.result_of_call(function, args, kwargs)
    except Exception as error:  # noqa: BLE001  # it is the error of one element
        what = {ERROR: str(error) or type(error).__name__, "TYPE": type(error).__name__}
        return None, {**what, "TRACEBACK": traceback.format_exc(), **called}
    if not is_error(value):
        return value, None
    return None, {**called, **value} if isinstance(value, Mapping) else {ERROR: value, **called}


def _path_of(given: bool | str, folder: str, name: str, ending: str) -> str | None:  # noqa: FBT001  # as it is given
    wanted = argument_lists.bool_str(given)
    if wanted is False:
        return None
    own = name if wanted is True else str(wanted)
    return os.path.join(folder, own if "." in os.path.basename(own) else f"{own}.{ending}")


class _Files:
    """The files that a job writes, a line at a time; none of an earlier job is overwritten or appended to."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self.made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def add(self, path: str | None, line: str) -> None:
        """Append a line to the file that was wanted at a path."""
        if path is None:
            return
        if path not in self._open:
            self._open[path] = self._created(path)
        durable.append(self._open[path], f"{line}\n".encode("utf-8", "backslashreplace"), path)

    def _created(self, path: str) -> int:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        base, ending = os.path.splitext(path)
        number, name = 1, path
        while True:
            try:
                descriptor = durable.create(name)
            except FileExistsError:
                number += 1
                name = f"{base}-{number}{ending}"
                continue
            self.made.append(name)
            return descriptor
