"""``NAME.problems.txt`` beside a refused config."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics import secrets
from job_orchestration.workspace import durable
from job_orchestration.workspace.naming import PROBLEMS_SUFFIX
from job_orchestration.workspace.safe_reads import READ_ONLY, read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from job_orchestration.diagnostics.problems import Problem

_MOST: Final = 1 << 20
"""Number of bytes of a problems file that are compared with its new text."""
_NO_PLACE: Final = frozenset({errno.ENAMETOOLONG, errno.EISDIR})
"""Errors that mean that no problems file can be written beside a config."""


# -- problems files ---------------------------------------------------------------------------------------


def write_problems(folder: Path, filename: str, problems: Iterable[Problem]) -> None:
    """Write the problems of a config beside it; a file with the same text is left as it is.

    Nothing is written if the file's name would be too long, or a folder has that name: the report has the
    problems anyway, and the pass continues with the other files.
    """
    path = folder / f"{filename}{PROBLEMS_SUFFIX}"
    known = secrets.values_in(os.environ)
    text = "".join(f"{secrets.masked(str(problem), known)}\n" for problem in problems).encode()
    if _content(path) == text:
        return
    try:
        durable.write_view(str(path), text)
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise


def clear_problems(folder: Path, filename: str) -> None:
    """Remove the problems file of a config, if there is one."""
    with suppress(FileNotFoundError, IsADirectoryError):
        durable.unlink(str(folder / f"{filename}{PROBLEMS_SUFFIX}"))


def _content(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, READ_ONLY)
    except OSError:
        return None
    try:
        return read_bounded(descriptor, _MOST)
    except OSError:  # a folder has this name
        return None
    finally:
        os.close(descriptor)
