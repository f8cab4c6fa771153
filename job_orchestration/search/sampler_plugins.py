"""Samplers of other packages: found through the entry point group ``job_orchestration.samplers``.

A plugin is imported by no worker and no `ready`: `sampler_process` creates it in a process of its own that
has a time limit, gives it all results, and returns its proposals. So a plugin that crashes, hangs, prints or
exits stops one search, and the sentence about it names the plugin and its package.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config import json_floats
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import Fault, escaped
from job_orchestration.search import search_settings
from job_orchestration.search.parameter_space import Choice, Uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job_orchestration.config.config import Json
    from job_orchestration.search.parameter_space import Domain
    from job_orchestration.search.search_settings import Search, TrialResult

GROUP: Final = "job_orchestration.samplers"
LIMIT: Final = 30.0
"""Seconds that a plugin has to propose trials; the lock for opening runs is held meanwhile."""
_MOST: Final = 32
"""Trials that are asked for at once."""
_LONGEST: Final = 300


def names() -> list[str]:
    """Return the names of the samplers that installed packages offer."""
    offered = {point.name for point in metadata.entry_points(group=GROUP)}
    return sorted(offered - {*search_settings.METHODS})


def package_of(name: str) -> str | None:
    """Return the package that offers a sampler; `None` if none does."""
    for point in metadata.entry_points(group=GROUP):
        if point.name == name:
            return point.dist.name if point.dist is not None else point.value
    return None


def fault_of(search: Search) -> Fault | None:
    """Return why a plugin cannot propose the first trial of a search; `None` if it can."""
    try:
        PluginSampler(search).ask(1)
    except UsageError as error:
        return Fault(error.what, error.todo)
    return None


class PluginSampler:
    """Proposes trials by a plugin.

    Args:
        search: the search; its method is the name of the plugin.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._results: Sequence[TrialResult] = ()
        self._proposed: dict[int, Mapping[str, Json] | None] = {}

    def observe(self, results: Sequence[TrialResult]) -> None:
        """Keep the results for the next proposals."""
        self._results = results
        self._proposed.clear()

    def ask(self, number: int) -> Mapping[str, Json] | None:
        """Return the plugin's proposal for the trial of a number; `None` if it has no more.

        Raises:
            UsageError: the plugin is not installed, fails, takes too long, or proposes nonsense.
        """
        if number not in self._proposed:
            last = min(number + min(self._search.parallel, _MOST) - 1, max(self._search.n, number))
            self._proposed.update(self._propose(range(number, last + 1)))
        return self._proposed[number]

    def _propose(self, numbers: range) -> dict[int, Mapping[str, Json] | None]:
        search = self._search
        if package_of(search.method) is None:
            todo = "Install the package that has it, or write grid, random or tpe"
            raise UsageError(f"No installed package has a sampler {escaped(search.method)}", todo)
        request = {
            "name": search.method,
            "space": search_settings.as_json(search.space),
            "seed": search.seed,
            "maximize": search.maximize,
            "results": [_as_json(result) for result in self._results],
            "numbers": list(numbers),
        }
        answer = self._run(json_floats.text_of(request).encode())
        if "error" in answer:
            raise self._failed(str(answer["error"]))
        proposals = answer.get("proposals")
        if not isinstance(proposals, list) or len(proposals) != len(numbers):
            raise self._failed("its answer cannot be read")
        return dict(zip(numbers, map(self._checked, proposals), strict=True))

    def _run(self, request: bytes) -> Mapping[str, Any]:
        command = [sys.executable, "-m", "job_orchestration.search.sampler_process"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        ) as process:
            try:
                out, err = process.communicate(request, LIMIT)
            except subprocess.TimeoutExpired:
                raise self._failed(f"it took longer than {LIMIT:g} s") from None
            finally:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
        try:
            answer = json_floats.value_of(out)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            lines = err.decode(errors="replace").strip().splitlines()
            last = f": {lines[-1]}" if lines else ""
            raise self._failed(f"its process ended with {process.returncode}{last}")
        return answer

    def _checked(self, proposal: object) -> Mapping[str, Json] | None:
        space = self._search.space
        if proposal is None:
            return None
        if not isinstance(proposal, Mapping) or proposal.keys() != space.keys():
            raise self._failed(f"it proposed {json.dumps(proposal)}; the parameters are {', '.join(space)}")
        for key, value in proposal.items():
            if not _is_in(space[key], value):
                raise self._failed(f"it proposed {key} = {json.dumps(value)}, which is not in the space")
        return {key: proposal[key] for key in space}

    def _failed(self, why: str) -> UsageError:
        name = self._search.method
        what = f"The sampler {name} of the package {package_of(name)} failed: {why}"
        return UsageError(escaped(what[:_LONGEST]), "See the documentation of that package")


def _as_json(result: TrialResult) -> dict[str, Any]:
    kept = ("number", "run", "value", "ended", "complete", "pruned", "cancelled")
    return {
        **{name: getattr(result, name) for name in kept},
        "parameters": dict(result.parameters),
        "steps": {str(step): value for step, value in result.steps.items()},
    }


def _is_in(domain: Domain, value: Any) -> bool:
    """Return whether a value lies in the domain of its parameter."""
    if isinstance(domain, Choice):
        return any(type(value) is type(choice) and value == choice for choice in domain.values)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return (isinstance(domain, Uniform) or isinstance(value, int)) and domain.low <= value <= domain.high
