"""Names: the allowed ones, the names of tokens, and the output folders of runs.

Names from users become files or folders of the workspace. One rule, `fault_of_name`, holds for a config's
file name, a task's id and each part of an output folder. It refuses ``~``, which is reserved for tokens: a
token's name is its stem and, after a ``~``, the state of its run. Pure.

======================================  ==========================================
``a.yaml``                              waiting
``a~wait20261120T051500Z.yaml``         waiting, not to be claimed before that time
``a~held.yaml``                         waiting until it is released
``a~g000002~lab3.4711.k7f.yaml``        claimed: attempt 2, by that worker
======================================  ==========================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import Fault, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

PROBLEMS_SUFFIX: Final = ".problems.txt"
"""Ending of a problems file, after the name of its config."""

RESERVED_NAMES: Final = frozenset(
    {
        *("config.yaml", "provenance.json", "journal", "status.yaml", "log.log", "results.yaml", "lock.file"),
        "working_directory",
    }
)
"""Names that a run's folder uses itself."""

_MOST_ID_BYTES: Final = 100
_DIGEST: Final = 10
MOST_STEM_BYTES: Final = 150
"""Limit for a dropped file's name without its ending."""
_MOST_TOKEN_STEM_BYTES: Final = 180
"""Limit for a stem, which may have a number added; with worker and ending it still fits into 255 bytes."""
_MOST_PART_BYTES: Final = 200
_MOST_PATH_BYTES: Final = 1_000
_MOST_PARTS: Final = 16
_MOST_HOSTNAME_CHARACTERS: Final = 40

_UNSEEN = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line ends, and characters that change the direction of text."""
_TOKEN = re.compile(
    r"(?P<stem>[^~]+)"
    r"(?:~g(?P<generation>[0-9]{6,12})~(?P<worker>[^~]+)|~wait(?P<until>[0-9]{8}T[0-9]{6}Z)|~(?P<held>held))?"
    r"\.yaml"
)
_WORKER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,58}[A-Za-z0-9])?")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_COMPACT: Final = "%Y%m%dT%H%M%SZ"


def fault_of_name(name: str, most_bytes: int) -> str | None:
    """Return why ``name`` is not allowed for a file or folder, such as "holds a '~'"; `None` if it is."""
    if not name:
        return "is empty"
    if name.startswith("."):
        return "begins with a '.'"
    for character in "/~":
        if character in name:
            return f"holds a '{character}'"
    if _UNSEEN.search(name):
        return "holds a control character"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"is longer than {most_bytes} bytes" if length > most_bytes else None


# -- tasks ------------------------------------------------------------------------------------------------


def fault_of_id(id_: str) -> Fault | None:
    """Return why a text cannot be a task's id, which names the folder of the task's files."""
    fault = fault_of_name(id_, _MOST_ID_BYTES)
    if fault is None and id_ in RESERVED_NAMES:
        fault = "is the name of a file of the run"
    return Fault(f"the id {quoted(id_)} {fault}", "Give the task another id") if fault else None


def fault_of_method(method: str) -> Fault | None:
    """Return why a text cannot be a task's method: ``Name``, or ``package.module:Name``."""
    module, colon, name = method.rpartition(":")
    if name.isidentifier() and all(part.isidentifier() for part in module.split(".") if colon):
        return None
    return Fault(
        f"{quoted(method)} is not the name of a class",
        "Write the name of a class in Tasks.py, or package.module:Name for a class that can be imported",
    )


# -- config files -----------------------------------------------------------------------------------------


def is_config_name(filename: str) -> bool:
    """Return whether a file of this name in ConfigSources is meant as a config."""
    return filename.lower().endswith((".yaml", ".yml")) and not filename.startswith(".")


def stem_of(filename: str) -> str:
    """Return the name of the config in a file: ``a`` for ``a.yaml`` and ``a.YML``."""
    return filename.rpartition(".")[0] if is_config_name(filename) else filename


def stem_problem(filename: str) -> Fault | None:
    """Return the fault of the name of a config's file, or `None`."""
    if "/" in filename:
        return Fault("the file's name holds a '/'", "Rename the file")
    if not is_config_name(filename):
        return Fault("the name does not end in .yaml", "Rename the file")
    fault = fault_of_name(stem_of(filename), MOST_STEM_BYTES)
    return Fault(f"the file's name {fault}", "Rename the file") if fault else None


def numbered(stem: str, taken: Callable[[str], bool]) -> str:
    """Return ``stem``, or the first of ``stem-2``, ``stem-3``, … that is not taken."""
    if not taken(stem):
        return stem
    return next(name for n in count(2) if not taken(name := f"{stem}-{n}"))


def bounded(name: str, most_bytes: int) -> str:
    """Return a name, or its beginning and a digest of it if it is longer than `most_bytes`."""
    if len(name.encode()) <= most_bytes:
        return name
    import hashlib  # commands that only read names do not need it

    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name.encode()[: most_bytes - _DIGEST - 1].decode(errors='ignore')}+{digest}"


# -- tokens -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenName:
    """The name of a token; ``TokenName.parse(str(token)) == token``.

    Attributes:
        stem: the config's name.
        generation: the attempt's number; 0 if it was never claimed.
        worker: the worker that claimed it.
        not_before: the earliest time of a claim: UTC, ISO 8601, kept in whole seconds and never rounded down.
        held: whether it waits until it is released.

    Raises:
        ValueError: if the parts contradict each other or could not be read back.
    """

    stem: str
    generation: int = 0
    worker: str | None = None
    not_before: str | None = None
    held: bool = False

    def __post_init__(self) -> None:
        if fault := fault_of_name(self.stem, _MOST_TOKEN_STEM_BYTES):
            raise ValueError(f"a token's stem {fault}")
        if (self.worker is None) != (self.generation == 0) or not 0 <= self.generation < 10**12:
            raise ValueError("a claimed token has a worker and a generation from 1, any other has neither")
        if self.worker is not None and not _WORKER.fullmatch(self.worker):
            raise ValueError(f"{quoted(self.worker)} is not a worker's name")
        if (self.worker is not None) + (self.not_before is not None) + self.held > 1:
            raise ValueError("a token is claimed, or waits for a time, or is held")
        if self.not_before is not None:
            object.__setattr__(self, "not_before", _whole_seconds(self.not_before))

    def __str__(self) -> str:
        if self.worker is not None:
            return f"{self.stem}~g{self.generation:06d}~{self.worker}.yaml"
        if self.not_before is not None:
            return f"{self.stem}~wait{re.sub('[-:]', '', self.not_before)}.yaml"
        return f"{self.stem}~held.yaml" if self.held else f"{self.stem}.yaml"

    @classmethod
    def parse(cls, filename: str) -> TokenName | None:
        """Return the token of a file's name; ``None`` if the file is not a token."""
        match = _TOKEN.fullmatch(filename)
        if match is None:
            return None
        try:
            until = match["until"] and datetime.strptime(match["until"], _COMPACT).replace(tzinfo=UTC)
            not_before = until.isoformat() if until else None
            generation = int(match["generation"] or 0)
            token = cls(match["stem"], generation, match["worker"], not_before, held=bool(match["held"]))
        except ValueError:
            return None
        return token if str(token) == filename else None


def _whole_seconds(moment: str) -> str:
    at = datetime.fromisoformat(moment)
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    if at.microsecond:
        at = at.replace(microsecond=0) + timedelta(seconds=1)
    return f"{at:%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")


def worker_name(hostname: str, pid: int, letters: str) -> str:
    """Return a worker's name: ``lab3.4711.k7f`` for one on ``lab3.example.org``; it fits into a file name."""
    label = re.sub("[^A-Za-z0-9-]", "-", hostname.partition(".")[0])[:_MOST_HOSTNAME_CHARACTERS].strip("-")
    return f"{label or 'host'}.{pid}.{letters}"


def worker_pid(worker: str) -> int | None:
    """Return the process id in a worker's name; `None` if it has none."""
    digits = worker.split(".")[-2:-1]
    return int(digits[0]) if digits and digits[0].isdecimal() else None


# -- output folders ---------------------------------------------------------------------------------------


def render_output_dir(template: str, *, name: str, now: datetime, commit: str | None) -> str | Fault:
    """Return the folder of a run, relative to ``Output/``, or the fault of the template.

    Args:
        template: ``outputDir`` as written in the config.
        name: the config's name, for ``{name}``.
        now: local time, for ``{date}`` and ``{time}``.
        commit: hex digits, of which ``{commit}`` takes twelve; "none" where the code has no commit.

    Returns:
        A path of one or more parts inside ``Output/``, for any arguments.
    """
    digits = (commit or "none")[:12]
    values = {"date": f"{now:%Y_%m_%d}", "time": f"{now:%H_%M_%S}", "name": name, "commit": digits}
    todo = "Use braces only in {date}, {time}, {name} and {commit}"
    for match in _PLACEHOLDER.finditer(template):
        if match[1] not in values:
            return Fault(f"{quoted(match[0])} is not a placeholder", todo)
    if re.search("[{}]", _PLACEHOLDER.sub("", template)):
        return Fault("its braces do not match", todo)
    todo = 'Write a folder inside Output, such as "{date}/{name}"'
    return path_inside(_PLACEHOLDER.sub(lambda match: values[match[1]], template), todo)


def path_inside(path: str, todo: str) -> str | Fault:
    """Return a path without needless slashes if it is strictly inside its folder, otherwise the fault.

    Every path in a config that this program writes to goes through this rule.

    Args:
        path: as written in the config.
        todo: what to write instead.
    """
    if path.startswith("/"):
        return Fault(f"{quoted(path)} is an absolute path", todo)
    parts = [part for part in path.split("/") if part]
    if not parts:
        return Fault("the path is empty", todo)
    for part in parts:
        if fault := fault_of_name(part, _MOST_PART_BYTES):
            return Fault(f"the folder {quoted(part)} {fault}", todo)
    whole = "/".join(parts)
    if len(parts) > _MOST_PARTS or len(whole.encode()) > _MOST_PATH_BYTES:
        return Fault(f"the path has more than {_MOST_PARTS} folders or {_MOST_PATH_BYTES} bytes", todo)
    return whole
