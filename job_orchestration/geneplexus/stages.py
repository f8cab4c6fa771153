"""The steps of a run with a checkpoint after each: a kill after the fit does not fit again."""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from job_orchestration.geneplexus import adapter, checkpoints

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from pathlib import Path

    from job_orchestration.geneplexus.settings import Training

CHECKPOINT = "geneplexus.checkpoint"
"""The file's name in the task's folder for what survives attempts."""


def take_steps(
    new_model: Callable[[], Any],
    training: Training,
    mark: dict[str, Any],
    *,
    folder: Path,
    log: logging.Logger,
    progress: Callable[[float, float], None],
) -> tuple[Any, dict[str, Any]]:
    """Take all steps that have no checkpoint yet.

    Args:
        new_model: makes the model when there is no checkpoint at all.
        training: the parameters.
        mark: the fingerprint; a checkpoint of another one is not used.
        folder: where the checkpoint is kept.
        log: receives one message per step.
        progress: called with the steps done and their total.

    Returns:
        The model with all results, and the record of how it was made: ``done`` (steps), ``seconds`` of each
        step, ``warnings``, ``peak_memory_mb``.
    """
    path = folder / CHECKPOINT
    model, record = _stored(path, mark, log)
    count = len(adapter.STEPS)
    progress(record["done"], count)
    for number, step in enumerate(adapter.STEPS, 1):
        if number <= record["done"]:
            log.info("step %d of %d (%s) is taken from its checkpoint", number, count, step)
            continue
        log.info("step %d of %d: %s", number, count, step)
        began = time.perf_counter()
        with adapter.guarded(log) as seen_warnings:
            if model is None:
                model = new_model()
            adapter.take_step(model, step, training)
        record["seconds"][step] = round(time.perf_counter() - began, 4)
        record["warnings"] += [text for text in seen_warnings if text not in record["warnings"]]
        record["peak_memory_mb"] = max(record["peak_memory_mb"], peak_memory_mb())
        record["done"] = number
        checkpoints.replace(path, checkpoints.pack(model, mark, record))
        progress(number, count)
    return model, record


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB of 2**20 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _stored(path: Path, mark: dict[str, Any], log: logging.Logger) -> tuple[Any, dict[str, Any]]:
    fresh: dict[str, Any] = {"done": 0, "seconds": {}, "warnings": [], "peak_memory_mb": 0.0}
    if not path.exists():
        return None, fresh
    try:
        return checkpoints.unpack(path.read_bytes(), mark)
    except checkpoints.CheckpointError as error:
        log.warning(
            "The checkpoint in %s is not used: %s. The steps are taken from the first on.", path, error
        )
        return None, fresh
