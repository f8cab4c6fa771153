"""Searches on the disk: ``Misc/searches/NAME/`` holds the search; its trials are ordinary runs.

==================  =================================================================================
``search.json``     the order: the config, its pinned code, the space, how many trials; written once
``known.jsonl``     final results, so that their journals need not be folded again
``optuna.log``      Optuna's own journal, when it proposes the trials
``reports/``        metrics reported by running trials, one file each, if trials may be pruned
``ended``           there once all trials have ended
==================  =================================================================================

The order and the runs are the only truth: a trial's number is in its folder's name, its parameters and its
outcome are in its journal. All other files can be made again.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats, yaml_writer
from job_orchestration.diagnostics.problems import Fault, quoted
from job_orchestration.runs import journal, lifecycle
from job_orchestration.runs.events import Code, Outcome
from job_orchestration.runs.state import Status
from job_orchestration.search import samplers, search_settings, trials
from job_orchestration.search.search_settings import Search, TrialResult
from job_orchestration.workspace import durable, locks, naming, safe_reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from job_orchestration.config.config import Json
    from job_orchestration.workspace.layout import Workspace

ORDER: Final = "search.json"
ENDED: Final = "ended"
VIEW: Final = "search.yaml"
OPTUNA_LOG: Final = "optuna.log"
KNOWN: Final = "known.jsonl"
REPORTS: Final = "reports"
_NUMBERED: Final = re.compile(r"([0-9]{4,9})(?:,.*)?")
_VIEW_EVERY: Final = 1.0


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """A search as it was queued."""

    name: str
    base: str
    """The folder of its trials, relative to ``Output/``."""
    config: str
    """The name of the config: the stem of the file that was dropped."""
    search: Search
    values: Mapping[str, Json]
    """The config of a trial, before its parameters are set."""
    digest: str
    """Equal for orders that differ at most in the number of trials, in all or at a time."""
    code: Code | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict)
    """The part of the provenance that all trials share."""
    into: str = ""
    """``taskId.key`` that gets the parameters as one mapping; if empty, each goes to its own key."""
    trials_digest: str = ""
    """Equal for orders that propose the same trials, whatever their metric; empty of older releases."""
    results_file: str = ""
    """Path, inside the trials' folder, of a YAML list of parameters and results; empty for none."""


def folder(workspace: Workspace, name: str) -> str:
    """Return the folder of a search."""
    return os.path.join(workspace.misc, "searches", name)


def active(workspace: Workspace) -> list[str]:
    """Return the names of the searches that have not ended."""
    names = safe_reads.names_in(os.path.join(workspace.misc, "searches"))
    return [n for n in names if not has_ended(workspace, n)]


def read(workspace: Workspace, name: str) -> SearchOrder | None:
    """Return the order of a search; `None` if there is no search of this name."""
    try:
        with open(os.path.join(folder(workspace, name), ORDER), "rb") as file:
            found: dict[str, Any] = json_floats.value_of(file.read())
        search = found.pop("search")
        code = found.pop("code")
        return SearchOrder(
            **found,
            search=Search(**{**search, "space": search_settings.space_of(search["space"])}),
            code=Code(**code) if code else None,
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, LookupError, AttributeError):
        return None  # no such search, or its order is damaged


def write(workspace: Workspace, order: SearchOrder) -> bool:
    """Write an order; an existing search of the same order continues, maybe with more trials.

    Called under `opening.only_one`.

    Returns:
        Whether the search is new.
    """
    before = read(workspace, order.name)
    path = folder(workspace, order.name)
    durable.make_folder(path)
    if before is not None and before.search.aim != order.search.aim:
        for derived in (KNOWN, OPTUNA_LOG):  # their values are those of the former metric
            with suppress(FileNotFoundError):
                durable.unlink(os.path.join(path, derived))
    data = {
        **{name: getattr(order, name) for name in order.__slots__},
        "search": {**_plain(order.search), "space": search_settings.as_json(order.search.space)},
        "code": asdict(order.code) if order.code else None,
    }
    durable.replace(os.path.join(path, ORDER), json_floats.text_of(data, indent=1).encode())
    with suppress(FileNotFoundError):
        durable.unlink(os.path.join(path, ENDED))
    return before is None


def _plain(search: Search) -> dict[str, Any]:
    return {name: getattr(search, name) for name in search.__slots__}


def only_one(workspace: Workspace, name: str) -> AbstractContextManager[int]:
    """Hold the lock under which the derived files of a search are written."""
    return locks.folder_lock(folder(workspace, name))


def name_for(
    workspace: Workspace, stem: str, digest: str, trials_digest: str = ""
) -> tuple[str, SearchOrder | None]:
    """Return the name of a search for a config, and its order if it was queued before.

    Args:
        workspace: the workspace.
        stem: the name of the config.
        digest: of the new order.
        trials_digest: the same without the metric: a search none of whose trials has a value goes on with
            another metric.
    """
    name, number = stem, 1
    while os.path.lexists(folder(workspace, name)):
        found = read(workspace, name)
        if found is None or found.digest == digest:
            return name, found
        if trials_digest and found.trials_digest == trials_digest and _has_no_value(workspace, found):
            return name, found
        number += 1
        name = f"{stem}-{number}"
    return name, None


def _has_no_value(workspace: Workspace, order: SearchOrder) -> bool:
    known = results(workspace, order)
    return any(r.complete for r in known) and all(r.value is None for r in known)


def is_used(workspace: Workspace, base: str) -> bool:
    """Return whether a folder that a search would put its trials in is not empty."""
    try:
        return bool(os.listdir(workspace.run_folder(base)))
    except FileNotFoundError:
        return False
    except NotADirectoryError:  # the path, or a folder above, is a file
        return True
    except OSError:
        return True


def label_of(number: int, parameters: Mapping[str, Json]) -> str:
    """Return the name of a trial's folder: its number and its parameters."""
    name = trials.name_of(parameters, trials.last_parts([parameters]))  # the number keeps names apart
    return naming.bounded(f"{number:04d},{name}", 150)


# -- results of trials ---------------------------------------------------------------------------------------


def results(workspace: Workspace, order: SearchOrder) -> list[TrialResult]:
    """Return the state of each trial, sorted by number."""
    found = _final_results(workspace, order)
    for name in safe_reads.names_in(workspace.run_folder(order.base)):
        match = _NUMBERED.fullmatch(name)
        if match and int(match[1]) not in found:
            run = f"{order.base}/{name}"
            try:
                result = _result(workspace, order, run)
            except OSError:  # the others go on without it; its number stays taken
                result = TrialResult(int(match[1]), run, {}, ended=True)
            if result is not None:
                found[result.number] = result
    return [found[number] for number in sorted(found)]


def _result(workspace: Workspace, order: SearchOrder, run: str) -> TrialResult | None:
    state = lifecycle.fold(journal.read(workspace.run_folder(run)))
    trial = state.trial
    if trial is None or trial.number is None or trial.sweep != order.name:
        return None
    return TrialResult(
        trial.number,
        run,
        trial.parameters,
        search_settings.value_of(state, order.search.metric),
        ended=state.status in {Status.COMPLETE, Status.FAILED},
        complete=state.status is Status.COMPLETE,
        pruned=state.outcome is Outcome.PRUNED,
        cancelled=state.outcome is Outcome.CANCELLED,
        steps=reports(workspace, order.name, trial.number) if order.search.prune else {},
    )


def _final_results(workspace: Workspace, order: SearchOrder) -> dict[int, TrialResult]:
    found: dict[int, TrialResult] = {}
    if not os.path.isdir(workspace.run_folder(order.base)):
        return found  # all of it was deleted, to start again
    with suppress(FileNotFoundError), open(os.path.join(folder(workspace, order.name), KNOWN), "rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                values: dict[str, Any] = json_floats.value_of(line)
                steps = {int(step): value for step, value in values.pop("steps").items()}
                result = TrialResult(**values, steps=steps)
                found[result.number] = result
    return found


def remember(workspace: Workspace, order: SearchOrder, known: Iterable[TrialResult]) -> None:
    """Store results that are final; called under `opening.only_one`."""
    before = _final_results(workspace, order)
    new = [r for r in known if r.complete and r.number not in before]
    if new:
        lines = "".join(json_floats.text_of(asdict(r)) + "\n" for r in new)
        with open(os.path.join(folder(workspace, order.name), KNOWN), "a", encoding="utf-8") as file:
            file.write(lines)


def counts_of_ends(known: Iterable[TrialResult]) -> dict[str, int]:
    """Return how many trials have completed, failed, been cancelled and been pruned."""
    ends = Counter(r.end for r in known)
    return {end: ends[end] for end in ("completed", "failed", "cancelled", "pruned")}


def is_over(order: SearchOrder, known: Sequence[TrialResult]) -> bool:
    """Return whether all trials of a search exist, and no further value can come from them."""
    return len(known) >= order.search.n and all(r.ended or r.value is not None for r in known)


def standing(workspace: Workspace) -> dict[str, bool]:
    """Return the folder of each search's trials, with whether all trials have ended."""
    root = os.path.join(workspace.misc, "searches")
    found = ((name, read(workspace, name)) for name in safe_reads.names_in(root))
    return {
        order.base: os.path.exists(os.path.join(root, name, ENDED))
        for name, order in found
        if order is not None
    }


def has_ended(workspace: Workspace, name: str) -> bool:
    """Return whether a search opens no more trials."""
    return os.path.exists(os.path.join(folder(workspace, name), ENDED))


def named(workspace: Workspace, name: str) -> SearchOrder | None:
    """Return the search of a name, or with this folder of trials; `None` if there is none."""
    wanted = name.rstrip("/").removeprefix("Output/")
    search_orders = (
        read(workspace, found) for found in safe_reads.names_in(os.path.join(workspace.misc, "searches"))
    )
    return next((o for o in search_orders if o is not None and wanted in {o.name, o.base}), None)


def end(workspace: Workspace, order: SearchOrder) -> None:
    """Record that a search opens no more trials."""
    durable.replace(os.path.join(folder(workspace, order.name), ENDED), b"")


# -- views ---------------------------------------------------------------------------------------------------


def write_state(
    workspace: Workspace, order: SearchOrder, known: Sequence[TrialResult], *, at_once: bool
) -> None:
    """Write the search's state beside its trials, and the list of results if one is wanted."""
    found = samplers.best(known, maximize=order.search.maximize)
    shown: dict[str, Json] = {
        "search": order.name,
        "method": order.search.method,
        "metric": order.search.metric,
        "trials": order.search.n,
        "ended": sum(r.ended for r in known),
        **counts_of_ends(known),
        "best": None if found is None else _shown(found),
    }
    durable.write_view(os.path.join(workspace.run_folder(order.base), VIEW), yaml_writer.to_yaml(shown))
    write_results_file(workspace, order, known, at_once=at_once)


def read_state(workspace: Workspace, order: SearchOrder) -> Mapping[str, Json]:
    """Return the state that was last written beside the trials; empty if there is none that can be read."""
    from job_orchestration.config import yaml_reader

    path = os.path.join(workspace.run_folder(order.base), VIEW)
    try:
        descriptor = os.open(path, safe_reads.READ_ONLY)
    except OSError:
        return {}
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = safe_reads.read_bounded(descriptor, yaml_reader.MAX_BYTES) if is_file else b""
    except OSError:
        return {}
    finally:
        os.close(descriptor)
    root, _ = yaml_reader.read(data, VIEW)
    found = None if root is None else yaml_reader.plain(root)
    return found if isinstance(found, dict) else {}


def _shown(result: TrialResult) -> dict[str, Json]:
    return {"run": result.run, "value": result.value, "parameters": dict(result.parameters)}


def results_path(written: str) -> str | Fault:
    """Return the path of a search's file of results, relative to its trials' folder, or what is wrong.

    Args:
        written: ``resultsFilepath`` as it is in the config.
    """
    todo = "Write a path inside the folder of the trials, such as results.yaml"
    found = naming.path_inside(written, todo)
    if isinstance(found, str):
        first = found.partition("/")[0]
        if first == VIEW or _NUMBERED.fullmatch(first):
            return Fault(f"{quoted(first)} is a name of the search's own", todo)
    return found


def write_results_file(
    workspace: Workspace, order: SearchOrder, known: Sequence[TrialResult], *, at_once: bool
) -> None:
    """Write the whole list of parameters and results, unless that was done a moment ago.

    Args:
        workspace: the workspace of the search.
        order: the search; its file is inside the folder of its trials. If an older release queued it with a
            path outside, nothing is written.
        known: the states of the trials.
        at_once: whether to write it even if that was done a moment ago.
    """
    if not order.results_file:
        return
    rows = [{**r.parameters, "result": r.value} for r in known if r.value is not None]
    folder_of_trials = os.path.realpath(workspace.run_folder(order.base))
    inside = results_path(order.results_file)
    if isinstance(inside, Fault):
        return
    path = os.path.join(folder_of_trials, inside)
    if not os.path.realpath(os.path.dirname(path)).startswith(folder_of_trials):  # through a symbolic link
        return
    with suppress(FileNotFoundError):
        if not at_once and 0 <= time.time() - os.stat(path).st_mtime < _VIEW_EVERY:
            return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    durable.write_view(path, yaml_writer.rows_to_yaml(rows))


# -- reports of running trials ------------------------------------------------------------------------------


def _reports_of(workspace: Workspace, name: str, number: int) -> str:
    return os.path.join(folder(workspace, name), REPORTS, f"{number:04d}.jsonl")


def report(workspace: Workspace, name: str, number: int, step: int, value: float) -> None:
    """Store a metric that a running trial reports."""
    path = _reports_of(workspace, name, number)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        file.write(f"{json.dumps([step, value])}\n".encode())


def reports(workspace: Workspace, name: str, number: int) -> dict[int, float]:
    """Return the metrics that a trial reported, by step; of several for a step the last."""
    found: dict[int, float] = {}
    with suppress(FileNotFoundError), open(_reports_of(workspace, name, number), "rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                step, value = json.loads(line)
                found[int(step)] = float(value)
    return found


def reports_of_others(workspace: Workspace, name: str, number: int) -> list[dict[int, float]]:
    """Return the metrics that the other trials of a search reported, by step."""
    files = safe_reads.names_in(os.path.join(folder(workspace, name), REPORTS))
    numbers = [int(file.partition(".")[0]) for file in files if file.partition(".")[0].isdecimal()]
    return [reports(workspace, name, other) for other in sorted(numbers) if other != number]
