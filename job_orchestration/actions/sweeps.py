"""Sweeps at `ready`: a drop becomes many candidates, and each finds its folder.

All trials of a sweep lie in one folder, which its ``outputDir`` names. A trial that has a run already is
known by where it lies and by the digest in its journal; there is no list of trials besides the runs
themselves. So the folders that the pattern of ``outputDir`` may ever have meant are looked at: a sweep that
was cut short, or that got more values on another day, goes on in the folder where it began.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.actions.candidates import Candidate
from job_orchestration.engine.searching import has_package_for, sampler_of
from job_orchestration.files import journal, searches
from job_orchestration.files.searches import Order
from job_orchestration.model.event import Readied
from job_orchestration.model.problem import Problem
from job_orchestration.model.sweep import Trial
from job_orchestration.rules import (
    checking,
    domains,
    naming,
    reading,
    sampling,
    searching,
    sweeping,
    trials,
)
from job_orchestration.rules.checking import Checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.sweep import Search
    from job_orchestration.model.task import Json
    from job_orchestration.rules.reading import Node

_MOST_TRIED_OUT: Final = 1000
"""Trials of a search that are checked before it begins."""


def candidates_of(drop: Drop, defaults: Mapping[str, Json]) -> list[Candidate]:
    """What a drop may become: one run, or one for each trial of its sweep.

    A sweep that was not understood is one candidate, with all that is wrong with it.
    """
    name = naming.stem_of(drop.filename)
    root, problems = reading.read(drop.data, drop.filename)
    if root is None:
        checked = Checked(None, tuple(problems), {}, (), None)
        return [Candidate(drop, checked, problems)]
    if problems or sweeping.block_of(root) is None:
        checked = checking.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    if searching.has_search(root):
        return _searched(drop, root, defaults)
    sweep, problems = sweeping.parse(root, drop.filename)
    if sweep is None:
        checked = checking.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    found = [_trial(drop, root, defaults, parameters) for parameters in sweep.combinations()]
    return list({c.label: c for c in found}.values())  # a draw from few values may meet one twice


def _searched(drop: Drop, root: Node, defaults: Mapping[str, Json]) -> list[Candidate]:
    """The trials that a search is tried out with before it begins."""
    name = naming.stem_of(drop.filename)
    search, problems = searching.parse(root, drop.filename)
    if search is None:
        checked = checking.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    base = checking.check(trials.config_with(root, {}), drop.filename, name, defaults).values
    template = str(base.get("outputDir"))
    chosen: list[Json] = [search.method, search.metric, search.maximize, search.seed]
    asked: dict[str, Json] = {**searching.as_json(search.space), "": chosen}
    order = Order(name, "", name, search, base, trials.digest_of(base, asked, template))
    block = sweeping.block_of(root)
    assert block is not None, "it has a search"
    found = []
    for parameters in _tried_out(search):
        nodes = {key: domains.node_of(value, block) for key, value in parameters.items()}
        candidate = _trial(drop, root, defaults, nodes)
        candidate.order = order
        found.append(candidate)
    if not has_package_for(search):
        line, column = found[0].checked.place("sweep")
        what = f"the method {search.method} needs Optuna, which is not installed"
        todo = "Install it: pip install 'job-orchestration[optuna]'"
        found[0].problems.append(Problem(drop.filename, what, todo, "sweep.search.method", line, column))
    return list({c.label: c for c in found}.values())


def _tried_out(search: Search) -> list[Mapping[str, Json]]:
    """All trials when they are known, or those at the ends of the space."""
    if search.method == "tpe":
        return sampling.corners(search.space)
    sampler = sampler_of(search, "")
    return sampling.first(sampler, min(search.n, _MOST_TRIED_OUT))


def choose_base(workspace: Workspace, family: Sequence[Candidate], now: datetime) -> None:
    """Give a search its name and its folder: those that it has already when it was readied before."""
    first = family[0]
    assert first.order is not None, "a family of a search"
    name, before = searches.name_for(workspace, first.order.name, first.order.digest)
    if before is not None:
        base: str | naming.Fault = before.base
    elif first.checked.config is None:
        return
    else:
        base = _base(workspace, first, now)
    if isinstance(base, str) and before is None and searches.is_used(workspace, base):
        base = naming.Fault(f"the folder {base} already exists in Output", "Choose another outputDir")
    if isinstance(base, naming.Fault):
        first.add(base.what, base.todo, "outputDir")
        return
    for candidate in family:
        candidate.order = replace(first.order, name=name, base=base)
        candidate.run = f"{base}/{candidate.label}" if candidate.checked.config else ""


def _trial(drop: Drop, root: Node, defaults: Mapping[str, Json], parameters: Mapping[str, Node]) -> Candidate:
    name = naming.stem_of(drop.filename)
    checked = checking.check(trials.config_with(root, parameters), drop.filename, name, defaults)
    plain = {key: reading.plain(node) for key, node in parameters.items()}
    digest = trials.digest_of(checked.values, plain, str(checked.values.get("outputDir")))
    trial = Trial(name, plain, digest)
    return Candidate(drop, checked, list(checked.problems), trial=trial, label=trials.name_of(plain))


def choose_runs(workspace: Workspace, family: Sequence[Candidate], now: datetime) -> None:
    """Give each trial of a sweep its folder, or the run that it has already."""
    if family[0].order is not None:
        choose_base(workspace, family, now)
        return
    there = _runs_there(workspace, family)
    joined = ""
    for candidate in family:
        assert candidate.trial is not None, "a family is of trials"
        run = there.get(candidate.trial.digest)
        if run is not None:
            candidate.run, candidate.there = run, True
            joined = os.path.dirname(run)
    bases: dict[str, str | naming.Fault] = {}
    for candidate in family:
        config = candidate.checked.config
        if candidate.there or config is None:
            continue
        commit = candidate.code.commit if candidate.code else ""
        if commit not in bases:
            bases[commit] = joined or _base(workspace, candidate, now)
        base = bases[commit]
        if isinstance(base, naming.Fault):
            candidate.add(base.what, base.todo, "outputDir")
        else:
            candidate.run = f"{base}/{candidate.label}"


def _base(workspace: Workspace, candidate: Candidate, now: datetime) -> str | naming.Fault:
    config = candidate.checked.config
    assert config is not None, "asked for the folder of a good config"
    commit = candidate.code.commit if candidate.code else None
    base = naming.render_output_dir(config.output_dir, name=config.name, now=now, commit=commit)
    if isinstance(base, str) and "{time}" in config.output_dir:
        return naming.numbered(base, lambda folder: searches.is_used(workspace, folder))
    return base


def _runs_there(workspace: Workspace, family: Sequence[Candidate]) -> dict[str, str]:
    """The runs of a sweep's trials, by the trials' digests; of several the newest."""
    template = next((c.checked.config.output_dir for c in family if c.checked.config is not None), None)
    if template is None:
        return {}
    wanted = {c.trial.digest for c in family if c.trial is not None}
    labels = {c.label for c in family}
    found: dict[str, str] = {}
    for folder in sorted(_folders_of(workspace, template, naming.stem_of(family[0].drop.filename))):
        with suppress(OSError):
            for label in labels.intersection(os.listdir(workspace.run_folder(folder))):
                trial = trial_of(workspace.run_folder(f"{folder}/{label}"))
                if trial is not None and trial.digest in wanted:
                    found[trial.digest] = f"{folder}/{label}"
    return found


def trial_of(folder: str) -> Trial | None:
    """Which trial of a sweep the run in a folder is; `None` for what is no run, or none of a sweep."""
    entries, _ = journal.read_file(folder, 0)
    return next((e.event.trial for e in entries[:1] if isinstance(e.event, Readied)), None)


def _folders_of(workspace: Workspace, template: str, name: str) -> Iterator[str]:
    """The folders below ``Output/`` that a template may ever have meant."""
    parts = [part for part in template.split("/") if part]
    levels = [_pattern(part, name) for part in parts]
    if "{time}" in template:
        levels[-1] = re.compile(f"{levels[-1].pattern}(?:-[0-9]+)?")

    def below(folder: str, depth: int) -> Iterator[str]:
        if depth == len(levels):
            yield folder
            return
        with suppress(OSError):
            for entry in sorted(os.listdir(workspace.run_folder(folder))):
                if levels[depth].fullmatch(entry):
                    yield from below(f"{folder}/{entry}" if folder else entry, depth + 1)

    return below("", 0)


def _pattern(part: str, name: str) -> re.Pattern[str]:
    digits = {"date": "[0-9_]+", "time": "[0-9_]+", "commit": "[0-9a-f]+|none", "name": re.escape(name)}
    pieces = re.split(r"\{(\w+)\}", part)
    texts = [f"(?:{digits.get(p, p)})" if i % 2 else re.escape(p) for i, p in enumerate(pieces)]
    return re.compile("".join(texts))


def problems_of(family: Sequence[Candidate]) -> list[Problem]:
    """Everything that was found on the trials of a sweep, as problems of the file that it was dropped as."""
    return reading.capped(sweeping.merged({c.label: c.problems for c in family}))
