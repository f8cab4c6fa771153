"""Call GenePlexus without its side effects on logging, threads and defaults.

Its calls change module-wide defaults (a ``C`` given to one fit is the default of the next), its logger
prints by itself, its files stay open, and its errors speak of its insides. Each call is therefore made
inside `guarded`, and each error becomes one sentence. Of its functions for saving none is used: they
delete folders, choose other ones silently, and cannot write what `load_negatives` made.
"""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import geneplexus
import threadpoolctl
from sklearn.linear_model import LogisticRegression

from job_orchestration.geneplexus import loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from job_orchestration.geneplexus.settings import Choice, Training

STEPS = ("fit", "predict", "similarities", "network")
"""The steps of a run, in order; there is a checkpoint after each."""

MODEL = "All-Genes"
"""The name under which GenePlexus keeps the one trained model."""


def logreg() -> dict[str, Any]:
    """Settings of the logistic regression: GenePlexus's defaults, and the names that scikit-learn accepts."""
    return {
        "defaults": dict(geneplexus.config.DEFAULT_LOGREG_KWARGS),
        "legal": sorted(LogisticRegression().get_params()),
    }


def new_model(folder: Path, choice: Choice, genes: dict[str, Any]) -> Any:
    """A GenePlexus object with its genes loaded.

    Args:
        folder: the data, verified: GenePlexus would make a folder that is not there.
        choice: the network, species and collections.
        genes: what `LoadGeneset` saved: ``entrez``, ``negatives``, ``unnamed``.
    """
    arguments = choice.as_json()  # lists of our own: GenePlexus changes those that it is given
    model = geneplexus.GenePlexus(
        file_loc=str(folder), auto_download=False, log_to_file=False, log_level="INFO", **arguments
    )
    unnamed = set(genes["unnamed"])
    model.load_genes([one for one in genes["entrez"] if one not in unnamed])
    model.convert_ids.extend(one for one in genes["entrez"] if one in unnamed)
    if genes["negatives"]:
        model.load_negatives([one for one in genes["negatives"] if one not in unnamed])
        model.convert_ids_negatives.extend(one for one in genes["negatives"] if one in unnamed)
    return model


def take_step(model: Any, step: str, training: Training) -> None:
    """One of the `STEPS`; each leaves its results on the model.

    Raises:
        ValueError: the step cannot be done with these genes and data; the message is a sentence.
    """
    try:
        if step == "fit":
            _fit(model, training)
        elif step == "predict":
            model.predict()
        elif step == "similarities":
            model.make_sim_dfs()
        else:
            model.make_small_edgelist(num_nodes=training.num_nodes)
    except (OSError, MemoryError):
        raise  # may be over at the next try
    except Exception as error:
        raise ValueError(
            f"GenePlexus could not do its step {step!r}: {type(error).__name__}: {error}. "
            f"Look at the gene set, the parameters and the data."
        ) from error


def _fit(model: Any, training: Training) -> None:
    model.fit(
        logreg_kwargs=dict(training.logreg_kwargs),
        scale=training.scale,
        min_num_pos=training.min_num_pos,
        min_num_pos_cv=training.min_num_pos_cv,
        num_folds=training.num_folds,
        null_val=training.null_val,
        random_state=training.random_state,
        cross_validate=training.cross_validate,
    )


@contextmanager
def guarded(log: logging.Logger) -> Iterator[list[str]]:
    """Wrap a call of GenePlexus: one thread, its defaults restored, its messages sent to ``log``.

    Data that are in memory are handed over to it.

    Yields:
        The warnings so far; what is warned of inside is added when the block ends.
    """
    seen_warnings: list[str] = []
    with (
        _defaults_kept(),
        loaded.handed_over(),
        _redirected_log(log, seen_warnings),
        threadpoolctl.threadpool_limits(1),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # it never closes the files that it reads
        try:
            yield seen_warnings
        finally:
            for warning in caught:
                text = " ".join(str(warning.message).split())
                if text not in seen_warnings:
                    seen_warnings.append(text)
                    log.warning("%s", text)


@contextmanager
def _defaults_kept() -> Iterator[None]:
    # In place, because fit's own default argument is one of these very dicts.
    found = {
        name: value for name, value in vars(geneplexus.config).items() if isinstance(value, (dict, list))
    }
    before = copy.deepcopy({name: value for name, value in found.items() if not name.startswith("__")})
    try:
        yield
    finally:
        for name, old in before.items():
            value = found[name]
            value.clear()
            if isinstance(value, dict):
                value.update(old)
            else:
                value.extend(old)


class _Forward(logging.Handler):
    """Forward records to another logger and keep the warnings."""

    def __init__(self, log: logging.Logger, seen_warnings: list[str]) -> None:
        super().__init__(logging.INFO)
        self._log, self._seen_warnings = log, seen_warnings

    def emit(self, record: logging.LogRecord) -> None:
        """Forward a record."""
        text = record.getMessage()
        self._log.log(record.levelno, "geneplexus: %s", text)
        if record.levelno >= logging.WARNING and text not in self._seen_warnings:
            self._seen_warnings.append(text)


@contextmanager
def _redirected_log(log: logging.Logger, seen_warnings: list[str]) -> Iterator[None]:
    logger = logging.getLogger("geneplexus")
    before = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [_Forward(log, seen_warnings)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before
