"""The one safe name of a job: of its run, its folder, its files, and its messages in a queue. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.problems import escaped, quoted
from job_orchestration.results import legacy_names

if TYPE_CHECKING:
    from collections.abc import Callable

ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH: Final = 8
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def path_friendly_job_name(name: str) -> str:
    """Return the safe name of a job: small letters, digits and hyphens, at most 63 characters.

    The safe name of a safe name is itself. A longer name ends in a digest of all of it, so that
    two long names with the same beginning stay two.

    Args:
        name: as a person or an application gives it: ``My Job`` becomes ``my-job``.

    Raises:
        UsageError: if it has no letter and no digit that could be used.
    """
    try:
        return legacy_names.job_name(name)
    except ValueError:
        raise UsageError(
            f"{quoted(escaped(name))} cannot name a job", "Use letters from a to z, or digits, in its name"
        ) from None


def with_prefix(prefix: str, job_id: str) -> str:
    """Return the name of a job from a prefix that a person chose, and its id: ``my-genes-8e3jt5kz``."""
    return f"{path_friendly_job_name(prefix)[:32].strip('-')}-{job_id}" if prefix.strip() else job_id


def job_id(choose: Callable[[str], str]) -> str:
    """Return an id of eight letters and digits.

    Args:
        choose: returns one character of a text by chance.
    """
    return "".join(choose(ID_LETTERS) for _ in range(ID_LENGTH))


def file_name(job: str, name: str, suffix: str) -> str:
    """Return the name of a file of a job, such as ``my-job_df_probs.tsv``.

    Args:
        job: the safe name of the job.
        name: the file's own name; the job's before it and the suffix behind it may be there already.
        suffix: with its dot; empty if the name has one.

    Raises:
        UsageError: if it cannot be a part of a file's name.
    """
    own = name.removeprefix(f"{job}_").removesuffix(suffix)
    if not _PART.fullmatch(own) or ".." in own:
        raise UsageError(
            f"{quoted(escaped(name))} cannot name a file of a job", "Use letters, digits, '_', '-' and '.'"
        )
    return f"{job}_{own}{suffix}"
