"""Searches on the disk: ``Misc/searches/NAME/`` holds what was ordered, and its trials are ordinary runs.

==================  =================================================================================
``search.json``     the order: the config, its pinned code, the space, how many trials; written once
``told.jsonl``      results that cannot change any more, so that nobody folds their journals again
``optuna.log``      Optuna's own journal, when it proposes the trials
``reports/``        what running trials report of their metric, a file each, when some are to be pruned
``ended``           there once all trials have ended
==================  =================================================================================

Only the order and the runs are the truth: a trial's number is in its folder's name, its parameters and what
became of it are in its journal. The rest can be lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.files import durable, journal
from job_orchestration.model.event import Code
from job_orchestration.model.run import Outcome, Status
from job_orchestration.model.sweep import Result, Search
from job_orchestration.rules import lifecycle, sampling, searching, trials, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.task import Json

ORDER: Final = "search.json"
ENDED: Final = "ended"
TOLD: Final = "told.jsonl"
REPORTS: Final = "reports"
_NUMBERED: Final = re.compile(r"([0-9]{4,9})(?:,.*)?")
_VIEW_EVERY: Final = 1.0
PRUNED: Final = "pruned"
"""How the reason of a run begins that its search ended early."""


@dataclass(frozen=True, slots=True)
class Order:
    """A search as it was readied."""

    name: str
    base: str
    """The folder of its trials, relative to ``Output/``."""
    config: str
    """The name of the config: the stem of the file that was dropped."""
    search: Search
    values: Mapping[str, Json]
    """The config of a trial; its parameters are put over it."""
    digest: str
    """Equal for orders that ask for the same, but for how many trials and how many at a time."""
    code: Code | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict)
    """What all trials have in common of it."""
    into: str = ""
    """``taskId.key`` that gets the parameters as one mapping; each goes to its own key when empty."""
    results_file: str = ""
    """A YAML list of parameters and results that is kept up to date, when there is to be one."""


def folder(workspace: Workspace, name: str) -> str:
    """Where a search is written down."""
    return os.path.join(workspace.misc, "searches", name)


def active(workspace: Workspace) -> list[str]:
    """The names of the searches that have not ended."""
    try:
        names = sorted(os.listdir(os.path.join(workspace.misc, "searches")))
    except FileNotFoundError:
        return []
    return [n for n in names if not has_ended(workspace, n)]


def read(workspace: Workspace, name: str) -> Order | None:
    """The order of a search; `None` when there is none of this name."""
    try:
        with open(os.path.join(folder(workspace, name), ORDER), "rb") as file:
            found: dict[str, Any] = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    search = found.pop("search")
    code = found.pop("code")
    return Order(
        **found,
        search=Search(**{**search, "space": searching.space_of(search["space"])}),
        code=Code(**code) if code else None,
    )


def write(workspace: Workspace, order: Order) -> bool:
    """Write an order down; one that asks for the same, maybe for more trials, goes on.

    Called under `opening.only_one`.

    Returns:
        Whether there was none before.
    """
    before = read(workspace, order.name)
    path = folder(workspace, order.name)
    durable.make_folder(path)
    data = {
        **{name: getattr(order, name) for name in order.__slots__},
        "search": {**_plain(order.search), "space": searching.as_json(order.search.space)},
        "code": asdict(order.code) if order.code else None,
    }
    durable.replace(os.path.join(path, ORDER), json.dumps(data, indent=1).encode())
    with suppress(FileNotFoundError):
        durable.unlink(os.path.join(path, ENDED))
    return before is None


def _plain(search: Search) -> dict[str, Any]:
    return {name: getattr(search, name) for name in search.__slots__}


@contextmanager
def only_one(workspace: Workspace, name: str) -> Iterator[None]:
    """Wait until nobody else writes the views of a search, and keep others waiting."""
    descriptor = os.open(folder(workspace, name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def name_for(workspace: Workspace, stem: str, digest: str) -> tuple[str, Order | None]:
    """The name of a search from a config of some name, and its order when it was readied before."""
    name, number = stem, 1
    while os.path.lexists(folder(workspace, name)):
        found = read(workspace, name)
        if found is None or found.digest == digest:
            return name, found
        number += 1
        name = f"{stem}-{number}"
    return name, None


def is_used(workspace: Workspace, base: str) -> bool:
    """Whether there is something in a folder that a search would have its trials in."""
    try:
        return bool(os.listdir(workspace.run_folder(base)))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def label_of(number: int, parameters: Mapping[str, Json]) -> str:
    """The name of a trial's folder: its number, and its parameters."""
    return trials.bounded(f"{number:04d},{trials.name_of(parameters)}", 150)


# -- what became of the trials -------------------------------------------------------------------------------


def results(workspace: Workspace, order: Order) -> list[Result]:
    """What is known of each trial, by their numbers."""
    found = _told(workspace, order)
    for name in _listed(workspace.run_folder(order.base)):
        match = _NUMBERED.fullmatch(name)
        if match and int(match[1]) not in found:
            result = _result(workspace, order, f"{order.base}/{name}")
            if result is not None:
                found[result.number] = result
    return [found[number] for number in sorted(found)]


def _result(workspace: Workspace, order: Order, run: str) -> Result | None:
    state = lifecycle.fold(journal.read(workspace.run_folder(run)))
    trial = state.trial
    if trial is None or trial.number is None or trial.sweep != order.name:
        return None
    pruned = state.outcome is Outcome.CANCELLED and (state.reason or "").startswith(PRUNED)
    return Result(
        trial.number,
        run,
        trial.parameters,
        searching.value_of(state, order.search.metric),
        ended=state.status in {Status.COMPLETE, Status.FAILED},
        complete=state.status is Status.COMPLETE,
        pruned=pruned,
        steps=reports(workspace, order.name, trial.number) if order.search.prune else {},
    )


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def _told(workspace: Workspace, order: Order) -> dict[int, Result]:
    found: dict[int, Result] = {}
    if not os.path.isdir(workspace.run_folder(order.base)):
        return found  # somebody took all of it away, to begin anew
    with suppress(FileNotFoundError), open(os.path.join(folder(workspace, order.name), TOLD), "rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                told: dict[str, Any] = json.loads(line)
                steps = {int(step): value for step, value in told.pop("steps").items()}
                result = Result(**told, steps=steps)
                found[result.number] = result
    return found


def remember(workspace: Workspace, order: Order, known: Iterable[Result]) -> None:
    """Write down results that cannot change any more; called under `opening.only_one`."""
    before = _told(workspace, order)
    news = [r for r in known if r.complete and r.number not in before]
    if news:
        lines = "".join(json.dumps(asdict(r)) + "\n" for r in news)
        with open(os.path.join(folder(workspace, order.name), TOLD), "a", encoding="utf-8") as file:
            file.write(lines)


def is_over(order: Order, known: Sequence[Result]) -> bool:
    """Whether all trials of a search are there and none of them can bring a value any more."""
    return len(known) >= order.search.n and all(r.ended or r.value is not None for r in known)


def standing(workspace: Workspace) -> dict[str, bool]:
    """The folder of each search's trials, and whether all of them have ended."""
    root = os.path.join(workspace.misc, "searches")
    found = ((name, read(workspace, name)) for name in _listed(root))
    return {
        order.base: os.path.exists(os.path.join(root, name, ENDED))
        for name, order in found
        if order is not None
    }


def has_ended(workspace: Workspace, name: str) -> bool:
    """Whether a search opens no more trials."""
    return os.path.exists(os.path.join(folder(workspace, name), ENDED))


def named(workspace: Workspace, name: str) -> Order | None:
    """The search that a person calls so: by its name, or by the folder of its trials."""
    wanted = name.rstrip("/").removeprefix("Output/")
    orders = (read(workspace, found) for found in _listed(os.path.join(workspace.misc, "searches")))
    return next((o for o in orders if o is not None and wanted in {o.name, o.base}), None)


def end(workspace: Workspace, order: Order) -> None:
    """Note that there will be no more trials."""
    durable.replace(os.path.join(folder(workspace, order.name), ENDED), b"")


# -- views ---------------------------------------------------------------------------------------------------


def write_views(workspace: Workspace, order: Order, known: Sequence[Result], *, at_once: bool) -> None:
    """Show the search's state beside its trials, and in the list of results when one was asked for."""
    found = sampling.best(known, maximize=order.search.maximize)
    shown: dict[str, Json] = {
        "search": order.name,
        "method": order.search.method,
        "metric": order.search.metric,
        "trials": order.search.n,
        "ended": sum(r.ended for r in known),
        "best": None if found is None else _shown(found),
    }
    durable.write_view(os.path.join(workspace.run_folder(order.base), "search.yaml"), writing.to_yaml(shown))
    write_results_file(workspace, order, known, at_once=at_once)


def _shown(result: Result) -> dict[str, Json]:
    return {"run": result.run, "value": result.value, "parameters": dict(result.parameters)}


def write_results_file(workspace: Workspace, order: Order, known: Sequence[Result], *, at_once: bool) -> None:
    """Write the list of parameters and results, whole; not more often than anybody would look.

    Args:
        workspace: where the search is.
        order: the search; its file is relative to the folder of its trials.
        known: what is known of them.
        at_once: whether it is written even if it was a moment ago.
    """
    if not order.results_file:
        return
    rows = [{**r.parameters, "result": r.value} for r in known if r.value is not None]
    path = os.path.join(workspace.run_folder(order.base), os.path.expanduser(order.results_file))
    with suppress(FileNotFoundError):
        if not at_once and 0 <= time.time() - os.stat(path).st_mtime < _VIEW_EVERY:
            return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    durable.write_view(path, writing.rows_to_yaml(rows))


# -- what trials report on their way ------------------------------------------------------------------------


def _reports_of(workspace: Workspace, name: str, number: int) -> str:
    return os.path.join(folder(workspace, name), REPORTS, f"{number:04d}.jsonl")


def report(workspace: Workspace, name: str, number: int, step: int, value: float) -> None:
    """Write down what a running trial says of its metric."""
    path = _reports_of(workspace, name, number)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        file.write(f"{json.dumps([step, value])}\n".encode())


def reports(workspace: Workspace, name: str, number: int) -> dict[int, float]:
    """What a trial has reported: step to metric; of one that was run twice, what it said last."""
    found: dict[int, float] = {}
    with suppress(FileNotFoundError), open(_reports_of(workspace, name, number), "rb") as file:
        for line in file:
            with suppress(ValueError, TypeError):
                step, value = json.loads(line)
                found[int(step)] = float(value)
    return found


def reports_of_others(workspace: Workspace, name: str, number: int) -> list[dict[int, float]]:
    """What the other trials of a search have reported."""
    files = _listed(os.path.join(folder(workspace, name), REPORTS))
    numbers = [int(file.partition(".")[0]) for file in files if file.partition(".")[0].isdecimal()]
    return [reports(workspace, name, other) for other in sorted(numbers) if other != number]
