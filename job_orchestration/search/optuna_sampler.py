"""Propose trials with Optuna's tree-structured Parzen estimator; its journal lies beside the search.

The runs are the truth. Optuna's journal is updated from them before each proposal, so a kill at any point
does no harm. A proposal that has no run yet gets one later, under the same number; a journal that is lost or
unreadable is written again from the runs.

Optuna's own lock file is not used, because it would outlive a killed process. The caller holds the
workspace's lock for opening runs instead.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from job_orchestration.search import parameter_space
from job_orchestration.search.parameter_space import Choice, Uniform
from job_orchestration.search.searches import OPTUNA_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.search.parameter_space import Domain
    from job_orchestration.search.search_settings import Search, TrialResult


_STUDY: Final = "search"
_NUMBER: Final = "number"
"""The attribute of an Optuna trial that holds our number of it; Optuna numbers trials independently."""


class _NoLock:
    """The lock of Optuna's journal: does nothing, because the caller holds a lock."""

    def acquire(self) -> bool:
        """Have it."""
        return True

    def release(self) -> None:
        """Do nothing."""


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
        self._path = os.path.join(folder, OPTUNA_LOG)
        try:
            self._study = self._opened()
            self._study.get_trials(deepcopy=False)
        except Exception:  # noqa: BLE001  # the runs hold everything that is in the journal
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

    def observe(self, results: Sequence[TrialResult]) -> None:
        """Bring Optuna's journal up to date with the runs."""
        for torn in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _NUMBER not in torn.user_attrs:  # the process that asked for it was killed
                self._study._storage.set_trial_state_values(torn._trial_id, TrialState.FAIL)  # noqa: SLF001  # as below
        theirs = self._theirs()
        for result in results:
            if not self._distributions.keys() <= result.parameters.keys():
                continue  # it cannot be read
            found = theirs.get(result.number)
            if found is None:
                self._add(result)
            elif found.state is TrialState.RUNNING and (result.ended or result.value is not None):
                self._end(found, result)

    def _theirs(self) -> dict[int, optuna.trial.FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return {int(t.user_attrs[_NUMBER]): t for t in trials if _NUMBER in t.user_attrs}

    def _add(self, result: TrialResult) -> None:
        """Add a trial that is missing in Optuna's journal."""
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

    def _end(self, found: optuna.trial.FrozenTrial, result: TrialResult) -> None:
        storage, id_ = self._study._storage, found._trial_id  # noqa: SLF001  # nothing public reports later on
        for step, value in result.steps.items():
            storage.set_trial_intermediate_value(id_, step, value)
        state, reached = _state(result)
        storage.set_trial_state_values(id_, state, None if reached is None else [float(reached)])

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """Return Optuna's proposal for the trial of a number; always the same for one number."""
        found = self._theirs().get(number)
        if found is None or found.params.keys() != self._distributions.keys():
            found = self._proposed(number)
        return {key: self._decoded(key, found.params[key]) for key in self._distributions}

    def _proposed(self, number: int) -> optuna.trial.FrozenTrial:
        seed = int(parameter_space.fraction_of(self._search.seed, _STUDY, number) * 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a user cannot act on warnings of experimental features
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
            trial = self._study.ask(self._distributions)
        trial.set_user_attr(_NUMBER, number)  # last: a trial without it is incomplete
        return self._theirs()[number]

    def _coded(self, key: str, value: Json) -> Any:
        what = self._search.space[key]
        return json.dumps(value) if isinstance(what, Choice) and not _is_plain(what) else value

    def _decoded(self, key: str, value: Any) -> Json:
        what = self._search.space[key]
        if isinstance(what, Uniform):
            return min(max(parameter_space.rounded(value, parameter_space.DRAWN_DIGITS), what.low), what.high)
        found: Json = json.loads(value) if isinstance(what, Choice) and not _is_plain(what) else value
        return found


def _state(result: TrialResult) -> tuple[TrialState, float | None]:
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
