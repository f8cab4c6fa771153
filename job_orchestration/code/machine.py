"""The machine that this process runs on: processor, memory, GPUs. What is absent is `None` or empty."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from job_orchestration.workspace.safe_reads import names_in

if TYPE_CHECKING:
    from job_orchestration.config.config import Json

NVIDIA: Final = "/proc/driver/nvidia"
SMI: Final = "nvidia-smi"
SMI_LIMIT: Final = 3.0
"""Seconds that `nvidia-smi` may take: a driver in trouble never answers."""
_HEAD: Final = 4096
"""Bytes of a file of the kernel that are read; of ``/proc/cpuinfo`` the first processor stands in them."""


def described() -> dict[str, Json]:
    """Return ``cpu`` (its model), ``memory_bytes`` and ``gpus`` (each with ``model`` and ``driver``)."""
    return {"cpu": _cpu(), "memory_bytes": _memory(), "gpus": list(gpus())}


def _head(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return ""


def _cpu() -> str | None:
    found = re.search(
        r"^(?:model name|Model|cpu model|Hardware)\s*: *(.*)$", _head("/proc/cpuinfo"), re.MULTILINE
    )
    return found[1].strip() if found else None


def _memory() -> int | None:
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def gpus() -> tuple[dict[str, Json], ...]:
    """Return the GPUs of NVIDIA; the kernel's list is read if there is one, else `nvidia-smi` is asked."""
    folder = os.path.join(NVIDIA, "gpus")
    found = [_head(os.path.join(folder, name, "information")) for name in names_in(folder)]
    models = [
        match[1].strip() for text in found if (match := re.search(r"^Model:\s*(.*)$", text, re.MULTILINE))
    ]
    if models:
        version = re.search(r"(?:Kernel Module|x86_64|aarch64)\s+([0-9.]+)", _head(f"{NVIDIA}/version"))
        return tuple({"model": model, "driver": version[1] if version else None} for model in models)
    if os.path.isdir(NVIDIA):
        return ()
    lines = [line.split(", ") for line in _asked().splitlines()]
    return tuple({"model": line[0], "driver": line[-1]} for line in lines if len(line) > 1)


def _asked() -> str:
    """Return what `nvidia-smi` says; nothing if it is not there, fails or does not answer."""
    if not any(os.access(os.path.join(f, SMI), os.X_OK) for f in os.get_exec_path()):
        return ""
    command = [SMI, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    with suppress(OSError, ValueError):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SMI_LIMIT)
            return output.decode("utf-8", "replace") if process.returncode == 0 else ""
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            _wait_briefly(process)
    return ""


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    """Reap a killed process, unless it waits for the driver in the kernel, where no signal reaches it."""
    if process.stdout is not None:
        process.stdout.close()
    deadline = time.monotonic() + 1
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.returncode = process.returncode if process.returncode is not None else -signal.SIGKILL
