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
from typing import TYPE_CHECKING

from job_orchestration.actions.candidates import Candidate
from job_orchestration.files import journal
from job_orchestration.model.event import Readied
from job_orchestration.model.sweep import Trial
from job_orchestration.rules import checking, naming, reading, sweeping, trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from job_orchestration.files.intake import Drop
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.problem import Problem
    from job_orchestration.model.task import Json
    from job_orchestration.rules.reading import Node


def candidates_of(drop: Drop, defaults: Mapping[str, Json]) -> list[Candidate]:
    """What a drop may become: one run, or one for each trial of its sweep.

    A sweep that was not understood is one candidate, with all that is wrong with it.
    """
    name = naming.stem_of(drop.filename)
    root, problems = reading.read(drop.data, drop.filename)
    if root is None or problems or sweeping.block_of(root) is None:
        checked = checking.read_and_check(drop.data, drop.filename, name, defaults)
        return [Candidate(drop, checked, list(checked.problems))]
    sweep, problems = sweeping.parse(root, drop.filename)
    if sweep is None:
        checked = checking.check(root, drop.filename, name, defaults, problems)
        return [Candidate(drop, checked, list(checked.problems))]
    found = [_trial(drop, root, defaults, parameters) for parameters in sweep.combinations()]
    return list({c.label: c for c in found}.values())  # a draw from few values may meet one twice


def _trial(drop: Drop, root: Node, defaults: Mapping[str, Json], parameters: Mapping[str, Node]) -> Candidate:
    name = naming.stem_of(drop.filename)
    checked = checking.check(trials.config_with(root, parameters), drop.filename, name, defaults)
    plain = {key: reading.plain(node) for key, node in parameters.items()}
    digest = trials.digest_of(checked.values, plain, str(checked.values.get("outputDir")))
    trial = Trial(name, plain, digest)
    return Candidate(drop, checked, list(checked.problems), trial=trial, label=trials.name_of(plain))


def choose_runs(workspace: Workspace, family: Sequence[Candidate], now: datetime) -> None:
    """Give each trial of a sweep its folder, or the run that it has already."""
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
        return naming.numbered(base, lambda folder: _holds_something(workspace.run_folder(folder)))
    return base


def _holds_something(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False
    except OSError:
        return True


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
