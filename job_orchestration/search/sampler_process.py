"""The process in which a sampler of another package proposes trials: see `sampler_plugins`.

It reads one request as JSON and answers with one line. What the plugin prints goes to standard error, so that
it cannot spoil the answer.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Any

from job_orchestration.config import json_floats
from job_orchestration.search.sampler_plugins import GROUP
from job_orchestration.search.search_settings import TrialResult


def _proposals(request: dict[str, Any]) -> list[Any]:
    point = next(p for p in metadata.entry_points(group=GROUP) if p.name == request["name"])
    create = point.load()
    sampler = create(space=request["space"], seed=request["seed"], maximize=request["maximize"])
    results = [
        TrialResult(**{**result, "steps": {int(step): value for step, value in result["steps"].items()}})
        for result in request["results"]
    ]
    sampler.observe(results)
    asked = [sampler.ask(number) for number in request["numbers"]]
    return [None if one is None else dict(one) for one in asked]


def main() -> None:
    """Answer one request."""
    request = json_floats.value_of(sys.stdin.buffer.read())
    answer_end = os.dup(1)
    os.dup2(2, 1)
    answer: dict[str, Any]
    try:
        answer = {"proposals": _proposals(request)}
        data = json_floats.text_of(answer)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
        data = json_floats.text_of({"error": f"{type(error).__name__}: {error}"})
    sys.stdout.flush()
    with os.fdopen(answer_end, "w", encoding="utf-8") as answers:
        answers.write(data)


if __name__ == "__main__":
    main()
