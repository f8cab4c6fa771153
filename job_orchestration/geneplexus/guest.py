"""GenePlexus itself, and everything that keeps its habits from reaching others.

Its calls change module-wide defaults (a ``C`` given to one fit is the default of the next), its logger
prints by itself, its files stay open, and its errors speak of its insides. Each call is therefore made
inside `guarded`, and each error is told as a sentence. Of its functions for saving none is used: they
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from job_orchestration.geneplexus.settings import Choice, Training

STEPS = ("fit", "predict", "similarities", "network")
"""The steps of a run, in order; there is a checkpoint after each."""

MODEL = "All-Genes"
"""GenePlexus's name for the one model that is trained."""


def logreg() -> dict[str, Any]:
    """GenePlexus's settings of the logistic regression, and the names that scikit-learn knows."""
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
    """Around every call of GenePlexus: one thread, its defaults put back, its words sent to ``log``.

    Yields:
        The warnings so far; what is warned of inside is added when the block ends.
    """
    told: list[str] = []
    with (
        _defaults_kept(),
        _words_sent_to(log, told),
        threadpoolctl.threadpool_limits(1),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # it never closes the files that it reads
        try:
            yield told
        finally:
            for warning in caught:
                text = " ".join(str(warning.message).split())
                if text not in told:
                    told.append(text)
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
    """Sends records to another logger and remembers the warnings."""

    def __init__(self, log: logging.Logger, told: list[str]) -> None:
        super().__init__(logging.INFO)
        self._log, self._told = log, told

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        text = record.getMessage()
        self._log.log(record.levelno, "geneplexus: %s", text)
        if record.levelno >= logging.WARNING and text not in self._told:
            self._told.append(text)


@contextmanager
def _words_sent_to(log: logging.Logger, told: list[str]) -> Iterator[None]:
    guest = logging.getLogger("geneplexus")
    before = guest.handlers[:], guest.propagate
    guest.handlers, guest.propagate = [_Forward(log, told)], False
    try:
        yield
    finally:
        guest.handlers, guest.propagate = before
