"""Make the packages of an earlier run again, once for each distinct set, as a virtual environment.

``Misc/envs/<digest>`` holds the Python and the packages that a run recorded, installed by uv without looking
for anything else. It is made in a folder of its own and renamed into place, under a lock: several workers
make it once, and a kill leaves nothing that is used. The package of this program is not one of them: the
fork server in the environment runs the code of its worker.

Packages that were installed as editable are not built again, since that would write into their folders. The
environment gets a path to the folder instead, as an editable install does; so these are as they are now.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Final

from job_orchestration.code.snapshots import SCRATCH
from job_orchestration.diagnostics import secrets
from job_orchestration.diagnostics.errors import CodeError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped
from job_orchestration.runs import stored_lists
from job_orchestration.workspace import durable, locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json
    from job_orchestration.workspace.layout import Workspace

OWN: Final = "job-orchestration"
_LIMIT: Final = 3600.0
"""Seconds that uv may take."""
_MOST_SAID: Final = 600
_NOT_INHERITED: Final = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"})
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9.!+_-]+")


def folder_of(workspace: Workspace, wanted: Mapping[str, Json]) -> str:
    """Return the folder of an environment, which need not be there.

    Args:
        workspace: the workspace.
        wanted: ``python``, a version; ``packages``, a digest in ``Misc/packages``; ``editable``.
    """
    text = json.dumps(wanted, sort_keys=True)
    return os.path.join(workspace.envs, hashlib.sha256(text.encode()).hexdigest()[:32])


def python_of(workspace: Workspace, wanted: Mapping[str, Json]) -> str:
    """Return the interpreter of an environment; make the environment if it is not there.

    Raises:
        CodeError: it cannot be made.
        OSError: the disk refuses.
    """
    folder = folder_of(workspace, wanted)
    python = os.path.join(folder, "bin", "python")
    if os.path.isfile(python):
        return python
    durable.make_folder(os.path.dirname(folder))
    with locks.folder_lock(os.path.dirname(folder)):
        if not os.path.isfile(python):
            _make(workspace, wanted, folder)
    return python


def environment_for(python: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a process that runs in an environment."""
    folder = os.path.dirname(python)
    others = {name: value for name, value in environ.items() if name not in _NOT_INHERITED}
    path = os.pathsep.join(filter(None, (folder, environ.get("PATH"))))
    return {**others, "VIRTUAL_ENV": os.path.dirname(folder), "PATH": path}


def _make(workspace: Workspace, wanted: Mapping[str, Json], folder: str) -> None:
    recorded = stored_lists.read(workspace.packages, wanted.get("packages"))
    if not isinstance(recorded, dict):
        raise CodeError("The recorded packages are not in the workspace any more", "Rerun it without --env")
    editable = wanted.get("editable")
    folders = {n: str(f) for n, f in editable.items()} if isinstance(editable, dict) else {}
    packages = {n: str(v) for n, v in recorded.items() if n not in folders and n != OWN}
    if bad := [n for n, v in packages.items() if not (_NAME.fullmatch(n) and _VERSION.fullmatch(v))]:
        raise CodeError(f"The recorded packages name {escaped(bad[0])}, which is no package")
    locks.say(f"Making an environment of {counted(len(packages), 'package')} in Misc/envs")
    version = str(wanted.get("python"))
    same = version == platform.python_version()
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=workspace.misc) as scratch:
        made = os.path.join(scratch, "env")
        python = sys.executable if same else version
        _uv("venv", "--quiet", "--no-project", "--relocatable", "--python", python, made)
        listed = os.path.join(scratch, "requirements.txt")
        lines = [*(f"{n}=={v}" for n, v in packages.items()), *_lacking(packages)]
        with open(listed, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        target = os.path.join(made, "bin", "python")
        _uv("pip", "install", "--quiet", "--no-deps", "--python", target, "--requirements", listed)
        _add_paths(made, folders.values())
        shutil.copyfile(listed, os.path.join(made, "requirements.txt"))
        _sync(made)
        shutil.rmtree(folder, ignore_errors=True)  # one without an interpreter: somebody deleted parts of it
        os.rename(made, folder)
    durable.sync_folder(os.path.dirname(folder))


def _lacking(packages: Mapping[str, str]) -> list[str]:
    """Return the requirements of this program that are not among the recorded packages."""
    found = []
    with suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires(OWN) or ():
            name = re.match(r"[A-Za-z0-9._-]+", requirement)
            if "extra ==" in requirement or name is None:
                continue
            if re.sub(r"[-_.]+", "-", name[0]).lower() not in packages:
                found.append(requirement)
    return found


def _add_paths(made: str, folders: Iterable[str]) -> None:
    """Let the environment import this program, and what was installed as editable."""
    (packages,) = _site_packages(made)
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.symlink(own, os.path.join(packages, os.path.basename(own)))
    paths = []
    for folder in folders:
        below = os.path.join(folder, "src")
        paths += [below] if os.path.isdir(below) else [folder] if os.path.isdir(folder) else []
    if paths:
        with open(os.path.join(packages, "_recorded_editable.pth"), "w", encoding="utf-8") as file:
            file.writelines(f"{path}\n" for path in paths)


def _site_packages(made: str) -> list[str]:
    lib = os.path.join(made, "lib")
    return [os.path.join(lib, name, "site-packages") for name in os.listdir(lib) if name.startswith("python")]


def _sync(folder: str) -> None:
    """Make all of an environment durable: thousands of small files, so with one call for the whole disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        durable.sync_file_system(descriptor, folder)
    finally:
        os.close(descriptor)


def uv() -> str | None:
    """Return the path of uv: of the extra ``[env]``, or on the path; `None` if there is none."""
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return str(find_uv_bin())
    return shutil.which("uv")


def _uv(*arguments: str) -> None:
    program = uv()
    if program is None:
        raise CodeError("uv is not installed", "Install it: pip install 'job-orchestration[env]'")
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    try:
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CodeError("uv did not end in time", "See whether the network can be reached") from None
    if done.returncode:
        said = secrets.masked(" ".join(done.stderr.decode("utf-8", "replace").split()))
        raise CodeError(
            f"The recorded packages cannot be installed: {escaped(said[-_MOST_SAID:])}",
            "Name where they can be found, with UV_INDEX_URL or UV_FIND_LINKS, or rerun it without --env",
        )
