"""Sweeps in a dropped file: one candidate per trial, and the folder of each.

All trials of a sweep are in one folder, named by its ``outputDir``. An existing run of a trial is recognised
by its place and by the digest in its journal; there is no list of trials besides the runs themselves. So all
folders that the pattern of ``outputDir`` can have named are searched: an interrupted sweep, or one that got
more values later, continues in its first folder.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from job_orchestration.config import validation, yaml_reader
from job_orchestration.config.validation import Checked
from job_orchestration.diagnostics import problems
from job_orchestration.diagnostics.problems import Problem
from job_orchestration.runs import journal
from job_orchestration.runs.events import Readied, Trial
from job_orchestration.search import (
    driver,
    parameter_space,
    samplers,
    search_settings,
    searches,
    sweep_expansion,
    trials,
)
from job_orchestration.search.searches import SearchOrder
from job_orchestration.submission import gene_set_batches
from job_orchestration.submission.candidate import Candidate
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from job_orchestration.config.config import Json
    from job_orchestration.config.yaml_reader import Node
    from job_orchestration.search.search_settings import Search
    from job_orchestration.submission.dropped_files import Drop
    from job_orchestration.workspace.layout import Workspace

_MOST_TRIED_OUT: Final = 1000
"""Number of trials of a search that are checked before it starts."""


def candidates_of(drop: Drop, defaults: Mapping[str, Json]) -> list[Candidate]:
    """Return the candidates of a dropped file: one, or one per trial of its sweep.

    An invalid sweep is one candidate with all its problems.
    """
    name = naming.stem_of(drop.filename)
    root, problems = yaml_reader.read(drop.data, drop.filename)
    if root is None:
        checked = Checked(None, tuple(problems), {}, (), None)
        return [Candidate(drop, checked, problems)]
    root, more = gene_set_batches.expanded(root, drop.filename)
    problems += more
    block = sweep_expansion.block_of(root)
    if any(p.is_error for p in problems) or block is None:
        checked = validation.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    found = (_searched if search_settings.is_search(block) else _swept)(drop, root, block, defaults)
    for candidate in found if problems else ():
        candidate.problems = list(dict.fromkeys((*problems, *candidate.problems)))
    return found


def _swept(drop: Drop, root: Node, block: Node, defaults: Mapping[str, Json]) -> list[Candidate]:
    """Return the trials of a sweep."""
    sweep, problems = sweep_expansion.parse(root, block, drop.filename)
    if sweep is None:
        name = naming.stem_of(drop.filename)
        checked = validation.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    found = [_trial(drop, root, defaults, parameters) for parameters in sweep.combinations()]
    return _once_each(found, problems)


def _once_each(found: Sequence[Candidate], problems: Sequence[Problem]) -> list[Candidate]:
    """Return each trial once (a draw may meet one twice), named, with the warnings of the sweep."""
    shortened = trials.last_parts(c.trial.parameters for c in found if c.trial is not None)
    for candidate in found if problems or shortened else ():
        candidate.problems = [*problems, *candidate.problems]
        if shortened and candidate.trial is not None:
            candidate.label = trials.name_of(candidate.trial.parameters, shortened)
    return list({c.label: c for c in found}.values())


def _searched(drop: Drop, root: Node, block: Node, defaults: Mapping[str, Json]) -> list[Candidate]:
    """Return the trials that are checked before a search starts."""
    name = naming.stem_of(drop.filename)
    search, problems = search_settings.parse(root, block, drop.filename, _plugins_for(block))
    if search is None:
        checked = validation.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    base = validation.check(trials.config_with(root, {}), drop.filename, name, defaults).values
    template = str(base.get("outputDir"))
    chosen: list[Json] = [search.method, search.metric, search.maximize, search.seed]
    asked: dict[str, Json] = {**search_settings.as_json(search.space), "": chosen}
    digest = trials.digest_of(base, asked, template)
    proposing: list[Json] = [search.method, search.seed]
    trials_digest = trials.digest_of(base, {**asked, "": proposing}, template)
    order = SearchOrder(name, "", name, search, base, digest, trials_digest=trials_digest)
    found = []
    for parameters in _tried_out(search):
        nodes = {key: parameter_space.node_of(value, block) for key, value in parameters.items()}
        candidate = _trial(drop, root, defaults, nodes)
        candidate.order = order
        found.append(candidate)
    fault = driver.fault_of(search)
    if fault is not None:
        line, column = found[0].checked.place("sweep")
        for candidate in found:
            candidate.problems.append(Problem(drop.filename, *fault, "sweep.search.method", line, column))
    return _once_each(found, problems)


def _plugins_for(block: Node) -> Sequence[str]:
    """Return the methods of other packages; none are looked for if the method is built in."""
    if search_settings.method_of(block) in search_settings.METHODS:
        return ()
    from job_orchestration.search import sampler_plugins

    return sampler_plugins.names()


def _tried_out(search: Search) -> list[Mapping[str, Json]]:
    """Return all trials if they are known, or those at the corners of the space."""
    if search.method not in {"grid", "random"}:
        return samplers.corners(search.space)
    sampler = driver.sampler_of(search, "")
    return samplers.first(sampler, min(search.n, _MOST_TRIED_OUT))


def choose_base(workspace: Workspace, family: Sequence[Candidate], now: datetime) -> None:
    """Give a search its name and folder: the existing ones if it was queued before."""
    first = family[0]
    assert first.order is not None, "a family of a search"
    name, before = searches.name_for(
        workspace, first.order.name, first.order.digest, first.order.trials_digest
    )
    if before is not None:
        base: str | problems.Fault = before.base
    elif first.checked.config is None:
        return
    else:
        base = _base(workspace, first, now)
    if isinstance(base, str) and before is None and searches.is_used(workspace, base):
        base = problems.Fault(f"the folder {base} already exists in Output", "Choose another outputDir")
    if isinstance(base, problems.Fault):
        first.add(base.what, base.todo, "outputDir")
        return
    for candidate in family:
        candidate.order = replace(first.order, name=name, base=base)
        candidate.run = f"{base}/{candidate.label}" if candidate.checked.config else ""


def _trial(drop: Drop, root: Node, defaults: Mapping[str, Json], parameters: Mapping[str, Node]) -> Candidate:
    name = naming.stem_of(drop.filename)
    checked = validation.check(trials.config_with(root, parameters), drop.filename, name, defaults)
    plain = {key: yaml_reader.plain(node) for key, node in parameters.items()}
    digest = trials.digest_of(checked.values, plain, str(checked.values.get("outputDir")))
    trial = Trial(name, plain, digest)
    return Candidate(drop, checked, list(checked.problems), trial=trial, label=trials.name_of(plain))


def choose_runs(workspace: Workspace, family: Sequence[Candidate], now: datetime) -> None:
    """Give each trial of a sweep its folder, or its existing run."""
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
    bases: dict[str, str | problems.Fault] = {}
    for candidate in family:
        config = candidate.checked.config
        if candidate.there or config is None:
            continue
        commit = candidate.code.commit if candidate.code else ""
        if commit not in bases:
            bases[commit] = joined or _base(workspace, candidate, now)
        base = bases[commit]
        if isinstance(base, problems.Fault):
            candidate.add(base.what, base.todo, "outputDir")
        else:
            candidate.run = _folder_in(workspace, base, candidate)


def _folder_in(workspace: Workspace, base: str, candidate: Candidate) -> str:
    """Return the folder of a new trial: with whole paths in its name, if the short one is another trial's."""
    assert candidate.trial is not None, "a family is of trials"
    run, whole = f"{base}/{candidate.label}", trials.name_of(candidate.trial.parameters)
    if candidate.label != whole and os.path.lexists(workspace.run_folder(run)):
        before = trial_of(workspace.run_folder(run))
        if before is None or before.parameters != candidate.trial.parameters:
            return f"{base}/{whole}"
    return run


def _base(workspace: Workspace, candidate: Candidate, now: datetime) -> str | problems.Fault:
    config = candidate.checked.config
    assert config is not None, "asked for the folder of a good config"
    commit = candidate.code.commit if candidate.code else None
    base = naming.render_output_dir(config.output_dir, name=config.name, now=now, commit=commit)
    if isinstance(base, str) and "{time}" in config.output_dir:
        return naming.numbered(base, lambda folder: searches.is_used(workspace, folder))
    return base


def _runs_there(workspace: Workspace, family: Sequence[Candidate]) -> dict[str, str]:
    """Return the newest run of each trial of a sweep, by the trial's digest."""
    template = next((c.checked.config.output_dir for c in family if c.checked.config is not None), None)
    if template is None:
        return {}
    wanted = {c.trial.digest for c in family if c.trial is not None}
    labels = {c.label for c in family}
    labels |= {name for c in family if c.trial for name in trials.names_of(c.trial.parameters)}
    found: dict[str, str] = {}
    for folder in sorted(_folders_of(workspace, template, naming.stem_of(family[0].drop.filename))):
        there: list[str] = []
        with suppress(OSError):
            there = os.listdir(workspace.run_folder(folder))
        for label in labels.intersection(there):
            trial = trial_of(workspace.run_folder(f"{folder}/{label}"))
            if trial is not None and trial.digest in wanted:
                found[trial.digest] = f"{folder}/{label}"
    return found


def trial_of(folder: str) -> Trial | None:
    """Return the trial of the run in a folder; `None` if it is none, not of a sweep, or unreadable."""
    try:
        entries, _ = journal.read_file(folder, 0)
    except OSError:
        return None
    return next((e.event.trial for e in entries[:1] if isinstance(e.event, Readied)), None)


def _folders_of(workspace: Workspace, template: str, name: str) -> Iterator[str]:
    """Yield the folders below ``Output/`` that a template can have named."""
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
    """Return the problems of all trials of a sweep, as problems of its file."""
    return yaml_reader.capped(sweep_expansion.merged({c.label: c.problems for c in family}))
