"""The identity of a process: the boot of its machine, its PID namespace, its number, and when it started.

A hostname is no identity: DHCP changes it, and containers of one machine may share it. Nor is a process
number: each PID namespace counts from one, and numbers are given out again. Two processes may compare their
numbers only if they share a boot and a namespace. Hostnames are for people.
"""

from __future__ import annotations

import functools
import os
import socket
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """What distinguishes a process from all others, on any machine, at any time."""

    boot: str
    """The boot of its machine, which all containers of the machine share."""
    namespace: int
    """Its PID namespace; 0 where the system has none."""
    pid: int
    started: int
    """Its start, in clock ticks since the boot; 0 if unknown."""

    @property
    def is_comparable(self) -> bool:
        """Return whether this process sees it under its number, as long as it lives."""
        return (self.boot, self.namespace) == (boot(), namespace())

    def is_alive(self) -> bool | None:
        """Return whether the process lives; `None` if that cannot be seen from here."""
        if not self.is_comparable:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it exists and belongs to another user
            pass
        started = start_of(self.pid)
        return not (self.started and started and started != self.started)


@functools.cache
def boot() -> str:
    """Return what names this machine since it was started; a container's is that of its machine."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        if found := file.read().strip():
            return found
    return socket.gethostname()


def namespace() -> int:
    """Return the number of this process's PID namespace; 0 where the system has none."""
    with suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def start_of(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot; 0 if that cannot be read."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])  # a name may hold blanks and parentheses
    return 0


def own() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(boot(), namespace(), os.getpid(), start_of(os.getpid()))
