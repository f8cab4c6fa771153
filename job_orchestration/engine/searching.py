"""Going on with searches: whoever has time opens the next trials, and no server is needed for it.

A worker does so when a trial of a search has ended in its hands, and whenever it is idle. The lock under
which runs are opened is taken for it, without waiting: somebody who opens runs at that moment will be done
soon. Under the lock the runs themselves tell which numbers are taken, so a trial is opened exactly once,
whoever was killed in between; a half-made one is settled as every opening is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import time
from typing import TYPE_CHECKING, Final

from job_orchestration.files import journal, opening, searches, token
from job_orchestration.files.intake import Drop
from job_orchestration.model.errors import UsageError
from job_orchestration.model.event import Readied
from job_orchestration.model.problem import escaped
from job_orchestration.model.sweep import Trial
from job_orchestration.rules import naming, sampling, steering, trials, writing
from job_orchestration.rules.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_orchestration.files.searches import Order
    from job_orchestration.files.workspace import Workspace
    from job_orchestration.model.run import RunState
    from job_orchestration.model.sweep import Result, Search
    from job_orchestration.model.task import Json
    from job_orchestration.rules.sampling import Sampler

EVERY: Final = 0.25
"""Seconds between two looks of an idle worker at the least."""
SOON: Final = 0.02
"""Seconds after which a worker finds the trials that were opened a moment ago."""
_AGAIN: Final = 30.0
"""Seconds after which a search that could not go on is looked at again."""


def sampler_of(search: Search, folder: str) -> Sampler:
    """What proposes the trials of a search.

    Args:
        search: the search.
        folder: where it may keep what it likes; not there yet when somebody only tries it out.

    Raises:
        UsageError: when its method needs a package that is not installed.
    """
    if search.method == "grid":
        return sampling.GridSampler(search.space)
    if search.method == "random":
        return sampling.RandomSampler(search.space, search.seed)
    try:
        from job_orchestration.engine.optuna_sampler import OptunaSampler
    except ImportError:
        raise UsageError(
            f"The method {search.method} needs Optuna, which is not installed here",
            "Install it: pip install 'job-orchestration[optuna]'",
        ) from None
    return OptunaSampler(search, folder)


def has_package_for(search: Search) -> bool:
    """Whether what a search's method needs is installed here."""
    return search.method in {"grid", "random"} or importlib.util.find_spec("optuna") is not None


class Searches:
    """The searches of a workspace, as one worker goes on with them.

    Args:
        workspace: where they are.
        say: gets a sentence for each thing that happens.
    """

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self._workspace = workspace
        self._say = say
        self._samplers: dict[str, Sampler] = {}
        self._not_before: dict[str, float] = {}
        self._warned: set[str] = set()
        self._changed: set[str] = set()
        """Those of which a trial has ended here since the last look, even if they had ended before."""
        self._looked_at = 0.0

    def ended(self, state: RunState) -> None:
        """Go on at once when it was a trial of a search that has ended."""
        if state.trial is not None and state.trial.number is not None:
            self._changed.add(state.trial.sweep)
            self.advance()

    def advance_idly(self) -> bool:
        """`advance`, unless that was done a moment ago."""
        if time.monotonic() - self._looked_at < EVERY:
            return False
        return self.advance()

    def advance(self) -> bool:
        """Open what may be opened; returns whether there may be something new to run."""
        self._looked_at = time.monotonic()
        names = [
            name
            for name in dict.fromkeys((*searches.active(self._workspace), *sorted(self._changed)))
            if self._not_before.get(name, 0.0) <= self._looked_at
        ]
        if not names:
            return False
        try:
            with opening.only_one(self._workspace, wait=False):
                opening.recover(self._workspace)
                self._changed.clear()
                opened = [self._try(name) for name in names]
                return any(opened)
        except BlockingIOError:
            return True
        except OSError as error:
            self._say(f"No search can go on for now ({error.strerror or error})")
            self._not_before.update(dict.fromkeys(names, self._looked_at + _AGAIN))
            return False

    def _try(self, name: str) -> bool:
        order = searches.read(self._workspace, name)
        if order is None:
            return False
        try:
            return self.advance_one(order)
        except UsageError as error:
            self._say(f"search {escaped(name)}: {error}")
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one search, the others go on
            self._say(f"search {escaped(name)}: it could not go on ({error!r})")
        self._samplers.pop(name, None)
        self._not_before[name] = time.monotonic() + _AGAIN
        return False

    def advance_one(self, order: Order) -> bool:
        """Open the trials of a search that may be opened now; called under `opening.only_one`."""
        with searches.only_one(self._workspace, order.name):
            return self._advance(order)

    def _advance(self, order: Order) -> bool:
        known = searches.results(self._workspace, order)
        searches.remember(self._workspace, order, known)
        lacking = next((r.run for r in known if r.complete and r.value is None), None)
        if (
            lacking is not None and order.name not in self._warned
        ):  # a slip in its name would be found at the end
            self._warned.add(order.name)
            metric = escaped(order.search.metric)
            self._say(f"search {escaped(order.name)}: {escaped(lacking)} returned no number {metric}")
        if searches.has_ended(self._workspace, order.name):  # a trial was retried, or the search cancelled
            searches.write_views(self._workspace, order, known, at_once=True)
            return False
        new = self._proposed(order, known)
        if new:
            open_trials(self._workspace, order, new)
        is_over = not new and all(r.ended for r in known)
        searches.write_views(self._workspace, order, known, at_once=is_over)
        if is_over:
            searches.end(self._workspace, order)
            self._samplers.pop(order.name, None)
            best = sampling.best(known, maximize=order.search.maximize)
            told = f"the best is {best.run} with {best.value}" if best else "none of them has a value"
            self._say(f"search {escaped(order.name)}: all {len(known)} trials have ended; {escaped(told)}")
        return bool(new)

    def _proposed(self, order: Order, known: Sequence[Result]) -> dict[int, Mapping[str, Json]]:
        """The parameters of the trials that are to be opened now, by their numbers."""
        search = order.search
        missing = min(search.parallel - sum(not r.ended for r in known), search.n - len(known))
        if missing <= 0:
            return {}
        if order.name not in self._samplers:
            self._samplers[order.name] = sampler_of(search, searches.folder(self._workspace, order.name))
        sampler = self._samplers[order.name]
        sampler.tell(known)
        last = max((r.number for r in known), default=0)
        asked = {number: sampler.ask(number) for number in range(last + 1, last + missing + 1)}
        return {number: proposed for number, proposed in asked.items() if proposed is not None}


def open_trials(workspace: Workspace, order: Order, new: Mapping[int, Mapping[str, Json]]) -> None:
    """Queue trials by their numbers; called under `opening.only_one`."""
    taken = opening.taken_stems(workspace)
    opening.open_runs(workspace, [_opening(order, number, new[number], taken) for number in new])


def _opening(order: Order, number: int, parameters: Mapping[str, Json], taken: set[str]) -> opening.Opening:
    run = f"{order.base}/{searches.label_of(number, parameters)}"
    asked = {order.into: dict(parameters)} if order.into else parameters
    values = trials.values_with({**order.values, "outputDir": run}, asked)
    data = writing.to_yaml(values, comment=f"{token.HEADER}{run}\n{steering.comment_of(values)}")
    digest = hashlib.sha256(data).hexdigest()
    seed = settings_of(values).seed
    if seed is None:
        seed = random.SystemRandom().getrandbits(32)
    own = {
        "run": run,
        "digest": digest,
        "readied_at": journal.now(),
        "seed": seed,
        "sweep": order.name,
        "parameters": dict(parameters),
    }
    stem = naming.numbered(
        trials.bounded(f"{order.name},{number:04d}", naming.MOST_STEM_BYTES), lambda name: name in taken
    )
    taken.add(stem)
    trial = Trial(order.name, parameters, number=number)
    return opening.Opening(
        Drop(f"{order.config}.yaml", b"", (0, 0, 0, 0)),
        run,
        stem,
        data,
        f"{json.dumps({**order.provenance, **own}, indent=1)}\n".encode(),
        Readied(order.config, digest, values, seed, order.code, trial),
        keeps_source=True,
    )
