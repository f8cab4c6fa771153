"""Record the inputs of a run when it begins, and look after each task whether they are still the same.

This is done in the run's own process: it holds up no other run, its progress stands in the run's log, and
a request to stop ends it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import sizes
from job_orchestration.runs import file_hashes, input_files, inputs
from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_orchestration.executor.shared_memory import SharedPage

FIRST: Final = 3.0
"""Seconds of hashing before the first line about its progress."""
EVERY: Final = 10.0
_NAMED: Final = 5
"""Changed files that the log names."""


class _StoppedError(Exception):
    """The run was asked to stop while its inputs were hashed."""


class InputRecorder:
    """The inputs of one run.

    Args:
        run_folder: the run's folder.
        patterns: its ``inputs``.
        say: called with a line for the log and its level.
        shared_page: says whether to stop.
    """

    def __init__(
        self,
        run_folder: str,
        patterns: Sequence[str],
        say: Callable[[str, str], object],
        shared_page: SharedPage,
    ) -> None:
        self._workspace = layout.locate(os.environ[layout.VARIABLE])
        self._folder = run_folder
        self._patterns = patterns
        self._say = say
        self._shared_page = shared_page
        self._hashes = file_hashes.FileHashes(self._workspace.hashes, self._tick)
        self._base = os.getcwd()
        self._expected = self._done = 0
        self._next = 0.0
        self._digest = ""
        self.contents: dict[str, str | None] = {}
        """The files at the last look, and their digests."""

    @property
    def digest(self) -> str:
        """The digest of the inputs at the last look."""
        return self._digest

    @property
    def paths(self) -> frozenset[str]:
        """The absolute paths of the files that there are now, after links too."""
        found = input_files.find(self._patterns, self._base).files.values()
        return frozenset(path for full in found for path in (os.path.abspath(full), os.path.realpath(full)))

    def begin(self) -> None:
        """Record the inputs, or look whether they are those that an earlier attempt has recorded.

        Raises:
            OSError: the disk refuses.
        """
        with suppress(_StoppedError):
            self._begin(self._look())

    def _begin(self, found: inputs.Inputs) -> None:
        self._digest, self.contents = found.digest, found.hashes
        for pattern in found.missing:
            self._say(f"Input {inputs.shown(pattern)} is not there", "WARNING")
        number = len(found.files)
        self._say(f"Inputs: {number} file{'' if number == 1 else 's'}, {sizes.text_of(found.bytes)}", "INFO")
        self._warn(inputs.note(self._workspace, self._folder, found), "since the run began")

    def unchanged(self, task: str | None) -> str | None:
        """Return the digest of the inputs if it is the one before the task; record how they differ if not.

        Raises:
            OSError: the disk refuses.
        """
        try:
            found = self._look()
        except _StoppedError:
            return None
        before, self._digest, self.contents = self._digest, found.digest, found.hashes
        if found.digest == before:
            return before
        while_ = "while the run was executed" if task is None else f"while task {task} ran"
        self._warn(inputs.note(self._workspace, self._folder, found, task), while_)
        return None

    def _look(self) -> inputs.Inputs:
        self._expected = self._done = 0
        self._next = time.monotonic() + FIRST
        return inputs.current(self._workspace, self._patterns, self._base, self._hashes, self._expect)

    def _warn(self, differing: dict[str, str], when: str) -> None:
        for path in list(differing)[:_NAMED]:
            how = {"changed": "has changed", "gone": "is gone", "new": "is new"}[differing[path]]
            self._say(f"Input {path} {how} {when}", "WARNING")
        if len(differing) > _NAMED:
            self._say(f"… and {len(differing) - _NAMED} more inputs", "WARNING")

    def _expect(self, number: int) -> None:
        self._expected = number

    def _tick(self, number: int) -> None:
        self._done += number
        if self._shared_page.stop is not None:
            raise _StoppedError
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            done, whole = (sizes.text_of(n) for n in (self._done, max(self._expected, self._done)))
            self._say(f"Hashing the inputs: {done} of {whole}", "INFO")
