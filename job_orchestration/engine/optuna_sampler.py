"""Optuna as a sampler: the tree-structured Parzen estimator, with Optuna's journal beside the search.

The runs are the truth and Optuna's journal follows them: it is brought up to date before each question. So
it does not matter where a process was killed. A proposal of which no run was made is made one later, under
the same number; a journal that is lost, or that cannot be read, is written anew from the runs.

Optuna's own lock file is not used. Whoever asks holds the workspace's lock for opening runs, and a lock file
would outlive a process that is killed.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from job_orchestration.model.sweep import Choice, Uniform
from job_orchestration.rules import domains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.model.sweep import Domain, Result, Search
    from job_orchestration.model.task import Json

JOURNAL: Final = "optuna.log"
_STUDY: Final = "search"
_NUMBER: Final = "number"
"""The attribute of a trial of Optuna's that says which of ours it is: Optuna counts for itself."""


class _NoLock:
    """The lock of Optuna's journal: somebody else keeps others waiting."""

    def acquire(self) -> bool:
        """Have it."""
        return True

    def release(self) -> None:
        """Let go of it."""


class OptunaSampler:
    """Proposes trials by Optuna.

    Args:
        search: what to search.
        folder: where Optuna's journal lies.
    """

    def __init__(self, search: Search, folder: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._search = search
        self._distributions = {key: _distribution(what) for key, what in search.space.items()}
        self._path = os.path.join(folder, JOURNAL)
        try:
            self._study = self._opened()
            self._study.get_trials(deepcopy=False)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, the runs know everything that is in it
            os.replace(self._path, f"{self._path}.unreadable.{time.time_ns()}")
            self._study = self._opened()

    def _opened(self) -> optuna.Study:
        backend = JournalFileBackend(self._path, lock_obj=_NoLock())
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=_STUDY,
            load_if_exists=True,
            direction="maximize" if self._search.maximize else "minimize",
        )

    def tell(self, results: Sequence[Result]) -> None:
        """Bring Optuna's journal up to date with the runs."""
        for torn in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _NUMBER not in torn.user_attrs:  # whoever asked for it was killed in the middle
                self._study._storage.set_trial_state_values(torn._trial_id, TrialState.FAIL)  # noqa: SLF001  # as below
        theirs = self._theirs()
        for result in results:
            found = theirs.get(result.number)
            if found is None:
                self._add(result)
            elif found.state is TrialState.RUNNING and (result.ended or result.value is not None):
                self._end(found, result)

    def _theirs(self) -> dict[int, optuna.trial.FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return {int(t.user_attrs[_NUMBER]): t for t in trials if _NUMBER in t.user_attrs}

    def _add(self, result: Result) -> None:
        """A trial that Optuna does not know: its journal was lost."""
        state, value = _state(result)
        parameters = {key: self._coded(key, result.parameters[key]) for key in self._distributions}
        self._study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=parameters,
                distributions=self._distributions,
                user_attrs={_NUMBER: result.number},
                intermediate_values=dict(result.steps),
            )
        )

    def _end(self, found: optuna.trial.FrozenTrial, result: Result) -> None:
        storage, id_ = self._study._storage, found._trial_id  # noqa: SLF001  # nothing public reports later on
        for step, value in result.steps.items():
            storage.set_trial_intermediate_value(id_, step, value)
        state, reached = _state(result)
        storage.set_trial_state_values(id_, state, None if reached is None else [float(reached)])

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """What Optuna proposes as the trial of a number; the same when it is asked twice."""
        found = self._theirs().get(number)
        if found is None or found.params.keys() != self._distributions.keys():
            found = self._proposed(number)
        return {key: self._decoded(key, found.params[key]) for key in self._distributions}

    def _proposed(self, number: int) -> optuna.trial.FrozenTrial:
        seed = int(domains.share_of(self._search.seed, _STUDY, number) * 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental today is no news to whoever runs a search
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self._study.ask(self._distributions)
        trial.set_user_attr(_NUMBER, number)  # last: one that lacks it was never complete
        return self._theirs()[number]

    def _coded(self, key: str, value: Json) -> Any:
        what = self._search.space[key]
        return json.dumps(value) if isinstance(what, Choice) and not _is_plain(what) else value

    def _decoded(self, key: str, value: Any) -> Json:
        what = self._search.space[key]
        if isinstance(what, Uniform):
            return min(max(domains.rounded(value, domains.DRAWN_DIGITS), what.low), what.high)
        found: Json = json.loads(value) if isinstance(what, Choice) and not _is_plain(what) else value
        return found


def _state(result: Result) -> tuple[TrialState, float | None]:
    if result.value is not None:
        return TrialState.COMPLETE, result.value
    if not result.ended:
        return TrialState.RUNNING, None
    if result.pruned and result.steps:
        return TrialState.PRUNED, result.steps[max(result.steps)]
    return TrialState.FAIL, None


def _is_plain(what: Choice) -> bool:
    return not any(isinstance(value, list | dict) for value in what.values)


def _distribution(what: Domain) -> BaseDistribution:
    if isinstance(what, Choice):
        plain = _is_plain(what)
        return CategoricalDistribution([v if plain else json.dumps(v) for v in what.values])
    if isinstance(what, Uniform):
        return FloatDistribution(what.low, what.high, log=what.log)
    return IntDistribution(what.low, what.high)
