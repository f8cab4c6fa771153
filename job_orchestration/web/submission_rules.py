"""What a config from the network may say: the methods that the owner allows, and no power over the machine.

A dropped file is trusted, because its author can write in the workspace. A config from the network is not: it
may name no code and no program, no path of this machine, no variable of the environment, and take nothing
away from other runs. All of that is the owner's choice, in ``workspace.yaml`` or in dropped files. Pure.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from job_orchestration.diagnostics.problems import Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_orchestration.config.config import Json

ALLOWED_METHODS: Final = "allowedMethods"
CALLABLE: Final = "callbackHosts"
BUILT_IN: Final = ("job_orchestration.geneplexus:*",)
"""The methods that are allowed if ``workspace.yaml`` says nothing: tasks of this package."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Names of jobs: safe in a path, a URL, a shell and a log."""
_OWNERS: Final[Mapping[str, str]] = {
    "notify": "it can start programs",
    "pathToTasks": "it names code of this machine",
    "pathToModuleCode": "it names code of this machine",
    "overwriteOutputFine": "it takes runs of others away",
    "UNSAFE_ignoreDirtyCheck": "it changes which code is executed",
    "callbackPublicOnly": "it says whom this machine may call",
    "sweep": "it makes many runs",
    "preloadKeep": "it takes memory from other runs",
}
_DEEPEST: Final = 20
_FILE = "config"


def name_problem(name: str) -> Problem | None:
    """Return why a job cannot have a name; `None` if it can."""
    if NAME.fullmatch(name) and not name.endswith((".yaml", ".yml")):
        return None
    todo = "Use at most 63 letters, digits, '.', '_' and '-', beginning with a letter or digit"
    return Problem(_FILE, f"a job cannot be named {quoted(name)}", todo, "jobname")


def allowed_methods(defaults: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the patterns of the methods that a config from the network may name."""
    return BUILT_IN if defaults.get(ALLOWED_METHODS) is None else _texts(defaults.get(ALLOWED_METHODS))


def problems_of(config: Mapping[str, Json], defaults: Mapping[str, Json]) -> list[Problem]:
    """Return everything that a config from the network may not say.

    Args:
        config: the config.
        defaults: the values of ``workspace.yaml``.
    """
    found = [
        Problem(_FILE, f"{key} may not come over HTTP, because {why}", f"Leave out {key}", key)
        for key, why in _OWNERS.items()
        if key in config and config[key] != defaults.get(key)
    ]
    found += _method_problems(config.get("tasks"), allowed_methods(defaults))
    found += _value_problems(dict(config), "", defaults)
    return found


def is_allowed_callback(url: Json, defaults: Mapping[str, Json]) -> bool:
    """Return whether the owner allows to call the server of a URL, wherever that is."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        names = {parts.hostname or "", f"{parts.hostname}:{parts.port}"}
    except ValueError:
        return False
    return any(fnmatchcase(name, allowed) for allowed in _texts(defaults.get(CALLABLE)) for name in names)


def _method_problems(tasks: Json, allowed: Sequence[str]) -> Iterator[Problem]:
    for number, task in enumerate(tasks) if isinstance(tasks, list) else ():
        method = task.get("method") if isinstance(task, dict) else None
        if isinstance(method, str) and not any(fnmatchcase(method, pattern) for pattern in allowed):
            todo = f"Choose from: {', '.join(allowed)}" if allowed else "Ask the owner of the workspace"
            what = f"the method {quoted(method)} is not among {ALLOWED_METHODS} of workspace.yaml"
            yield Problem(_FILE, what, todo, f"tasks[{number}].method")


def _value_problems(value: Json, key: str, defaults: Mapping[str, Json], depth: int = 0) -> Iterator[Problem]:
    """Yield a problem for each text that names a place of this machine or a variable of the environment."""
    if depth > _DEEPEST:
        yield Problem(_FILE, f"it is nested deeper than {_DEEPEST} levels", "Write it flatter", key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if depth or name not in _OWNERS:
                yield from _value_problems(inner, f"{key}.{name}" if key else name, defaults, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _value_problems(inner, f"{key}[{number}]", defaults, depth + 1)
    elif isinstance(value, str) and value != defaults.get(key):
        if "${" in value:
            yield Problem(
                _FILE, "a variable of the environment is the owner's", "Write the value itself", key
            )
        elif _is_path(value):
            todo = "Send the content under inputs, or have the owner write the path into workspace.yaml"
            yield Problem(_FILE, f"{quoted(value)} looks like a path of this machine", todo, key)


def _is_path(text: str) -> bool:
    """Return whether a text names a place outside of the folder of its run."""
    stripped = text.strip()
    return (
        stripped.startswith(("/", "~", "\\\\"))
        or stripped.lower().startswith("file:")
        or ".." in re.split(r"[/\\\\]", stripped)
    )


def _texts(value: Json) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    return tuple(text for text in texts if isinstance(text, str)) if isinstance(texts, list) else ()


def callback_problem(url: Json) -> Problem | None:
    """Return why an address that is written as a number, or as this machine, cannot be called.

    Names are looked up when they are called: what they mean may change.
    """
    import ipaddress
    from urllib.parse import urlsplit

    try:
        name = (urlsplit(url if isinstance(url, str) else "").hostname or "").rstrip(".")
    except ValueError:
        return None  # the checks say so
    is_here = name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
    try:
        is_here = is_here or not ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        is_here = is_here or bool(re.fullmatch(r"[0-9.xXa-fA-F]*[0-9][0-9.xX]*|0[xX][0-9a-fA-F]+", name))
    if not is_here:
        return None
    todo = f"Have the owner write the host into {CALLABLE} of workspace.yaml"
    return Problem(_FILE, f"{quoted(name)} is not a public address", todo, "callbackUrl")
