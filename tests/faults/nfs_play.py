"""What is played in the guest of F9: an NFS server and two hosts that share a workspace over it.

It runs as root in a machine of its own (`guest`), where the kernel serves ``/export``. Each *client* has
namespaces for network, host name, mounts and processes, so that it is another host to everything that
matters here: its kernel's NFS client, the names of its workers, the processes it can see. The folder is
called ``/lab`` everywhere. What was found is printed as lines that begin with `MARK`.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.faults import history_checker
from tests.faults.storm import IDS, Storm, children, left_behind, members
from tests.faults.workspace_files import tree

MARK = "F9 "
LAB = Path("/lab")
LEASE = 10
"""Seconds after which the server lets go of the locks of a client that it does not hear from."""


def sh(line: str, *, check: bool = True, limit: float = 120) -> str:
    """The output of a shell command."""
    done = subprocess.run(
        ["sh", "-c", line],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit,
    )
    assert not check or done.returncode == 0, (line, done.stdout)
    return done.stdout


def wait_for(condition, why: str, seconds: float = 120) -> float:
    """Wait for a condition; returns how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"not within {seconds:g} s: {why}"
        time.sleep(0.05)
    return time.monotonic() - began


# -- the hosts -----------------------------------------------------------------------------------------------


class Server:
    """The kernel's NFS server."""

    def __init__(self) -> None:
        for folder in ("/export", "/lab", "/run/rpc_pipefs", "/var/lib/nfs/nfsdcld"):
            os.makedirs(folder, exist_ok=True)
        sh("mount --bind /export /lab; modprobe veth; modprobe nfsd; modprobe nfs; ip link set lo up")
        sh("mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd")
        sh("mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs sunrpc /run/rpc_pipefs")
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            Path("/proc/fs/nfsd", name).write_text(f"{LEASE}\n")
        Path("/etc/exports").write_text("/export *(rw,sync,no_subtree_check,no_root_squash,fsid=0)\n")
        sh("rpcbind -w; nfsdcld; exportfs -ra; rpc.mountd")
        self.start()

    def start(self) -> None:
        """Serve; the clients have some seconds to say again what they had locked."""
        sh("rpc.nfsd 8")

    def stop(self) -> None:
        """Forget everything but what is on the disk."""
        sh("rpc.nfsd 0")


class Inside:
    """A process in a client, which is called like one that was started directly."""

    def __init__(self, outer: subprocess.Popen[bytes]) -> None:
        self._outer = outer
        wait_for(lambda: children(outer.pid) or outer.poll() is not None, "nsenter forks", 30)
        self.pid = (children(outer.pid) or [outer.pid])[0]

    def poll(self) -> int | None:
        return self._outer.poll()

    def wait(self, timeout: float | None = None) -> int:
        return self._outer.wait(timeout)

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def wake(self) -> None:
        """Let a stopped process go on, and nsenter, which stops when what it started does."""
        for pid in (self.pid, self._outer.pid):
            os.kill(pid, signal.SIGCONT)


class Client:
    """Another host: everything it runs goes through `start`."""

    def __init__(self, number: int) -> None:
        self.name = f"client{number}"
        self.link = f"veth{number}"
        self._net = f"10.9.{number}"
        own = f"hostname {self.name}; while :; do sleep 1; done"
        flags = ("--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
        self._holder = subprocess.Popen(["unshare", *flags, "sh", "-c", own])
        wait_for(lambda: children(self._holder.pid), "the client is there", 30)
        self._first = children(self._holder.pid)[0]
        sh(f"ip link add {self.link} type veth peer name eth0 netns {self._first}")
        sh(f"ip addr add {self._net}.1/24 dev {self.link}; ip link set {self.link} up")
        self.run(f"ip addr add {self._net}.2/24 dev eth0; ip link set eth0 up; ip link set lo up")
        wait_for(lambda: self.run("hostname").strip() == self.name, "the client has its name", 30)

    def enter(self, *words: str) -> list[str]:
        """A command line as it is for this client."""
        return ["nsenter", "-t", str(self._first), "-n", "-u", "-m", "-p", *words]

    def run(self, line: str, limit: float = 120) -> str:
        """The output of a shell command on this client."""
        done = subprocess.run(
            self.enter("sh", "-c", line),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
        )
        assert done.returncode == 0, (self.name, line, done.stdout)
        return done.stdout

    def mount(self, kind: str, options: str, source: str) -> None:
        """Mount the server's folder, as this client sees it."""
        self.run(f"mount -t {kind} -o {options} {self._net}.1:{source} {LAB}")

    def unmount(self) -> None:
        """Take the folder away."""
        self.run(f"umount {LAB}")

    def cut(self) -> None:
        """Cut the network between this client and the server."""
        sh(f"ip link set {self.link} down")

    def mend(self) -> None:
        """Make it whole again."""
        sh(f"ip link set {self.link} up")


class SharedStorm(Storm):
    """A storm over the workers of several clients, one after the other."""

    def __init__(self, clients: list[Client], name: str, **options: object) -> None:
        local = Path("/local", name)
        local.mkdir(parents=True)
        super().__init__(local, **options)
        self.workspace = LAB / name
        self.environment["JOB_ORCHESTRATION_WORKSPACE"] = str(self.workspace)
        self.clients = clients
        self._turn = itertools.cycle(clients)
        self._say_at = 0.0

    def command(self, *words: str) -> None:
        """One command of the product, on the first client."""
        subprocess.run(
            self.clients[0].enter(sys.executable, "-m", "job_orchestration", *words),
            env=self.environment,
            cwd=self.folder,
            check=True,
            timeout=600,
            stdout=self.log,
            stderr=self.log,
        )

    def start_worker(self) -> Inside:
        """A worker on the client whose turn it is."""
        command = next(self._turn).enter(sys.executable, "-m", "job_orchestration", "work")
        outer = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=self.log, stderr=self.log
        )
        self.workers.append(Inside(outer))
        return self.workers[-1]

    def replace(self) -> None:
        """Start a worker for each that is gone, and say now and then how far all of it is."""
        super().replace()
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + 15
            print(f"{self.folder.name}: {self.completed()} runs, {self.blows} blows", flush=True)

    def executions(self) -> list[history_checker.Execution]:
        """What the tasks of the first run noted so far."""
        return self.evidence().executions("storm/0")


# -- the parts -----------------------------------------------------------------------------------------------


def kills(clients: list[Client]) -> dict[str, object]:
    """Workers, hosts, children and what these started are killed on both hosts."""
    storm = SharedStorm(clients, "kills", runs=40, seconds=0.25, seed=9)
    storm.prepare()
    began = time.monotonic()
    storm.rage(workers=4, blows=60, limit=2400, between=0.2)
    return {
        "findings": storm.violations(),
        "kills": sum(storm.kills.values()),
        "kinds": dict(storm.kills),
        "runs": storm.runs,
        "seconds": round(time.monotonic() - began),
        "hosts": dict(machines_of(storm)),
        "handed between hosts": handed_over(storm),
    }


def machines_of(storm: Storm) -> Counter[str]:
    """How many attempts each host had."""
    lines = storm.evidence().journals.values()
    return Counter(f[0]["host"] for files in lines for n, f in files.items() if n and f)


def handed_over(storm: Storm) -> int:
    """How often a run went on on another host than before."""
    count = 0
    for files in storm.evidence().journals.values():
        machines = [f[0]["host"] for n, f in sorted(files.items()) if n and f]
        count += sum(one != two for one, two in itertools.pairwise(machines))
    return count


def back_and_forth(clients: list[Client]) -> dict[str, object]:
    """A run goes from one host to the other and back, quicker than the hosts forget what they have seen.

    A client believes what it knows of a folder for half a minute; so a worker that releases one must ask for
    the journal files that the other host has made since, or it runs a finished task again.
    """
    one, two = clients
    storm = SharedStorm([one, two, one], "back", runs=1, seconds=5, orphans=2)
    storm.prepare()
    queued, parked = (storm.workspace / folder / "r0.yaml" for folder in ("ConfigsToRun", "Misc"))
    queued.rename(parked)
    workers = [storm.start_worker() for _ in range(3)]
    heartbeats = storm.workspace / "Misc" / "workers"
    wait_for(lambda: len(list(heartbeats.glob("*.json"))) == 3, "three workers are idle", 300)
    for worker in workers[1:]:
        os.kill(worker.pid, signal.SIGSTOP)
    parked.rename(queued)
    wait_for(storm.executions, "a task runs", 120)
    storm.command("status")  # so that the first host knows the journal's folder as it is now
    for begun, (worker, heir) in zip((2, 4), itertools.pairwise(workers), strict=True):
        wait_for(lambda n=begun: len(storm.executions()) >= n, "a task is finished and the next runs", 300)
        heir.wake()
        for pids in members(worker.pid).values():
            for pid in pids:
                storm.kill("member", pid)
    took = wait_for(lambda: storm.completed() == 1, "the run is done", 300)
    storm.end()
    tasks = [f"{e.task}: attempt {e.attempt}" for e in storm.executions()]
    return {"findings": storm.violations(), "seconds": round(took), "order": tasks}


def restart(clients: list[Client], server: Server) -> dict[str, object]:
    """The server is stopped while both hosts hold runs, and forgets their locks."""
    storm = SharedStorm(clients, "restart", runs=8, seconds=4, seed=10)
    storm.prepare()
    for _ in range(4):
        storm.start_worker()
    wait_for(lambda: storm.events.read_text().count("start ") >= 4, "four tasks run", 300)
    server.stop()
    time.sleep(3)
    server.start()
    took = wait_for(lambda: storm.completed() == storm.runs, "all runs are done", 600)
    living = sum(worker.poll() is None for worker in storm.workers)
    storm.end()
    return {"findings": storm.violations(), "seconds": round(took), "workers that lived on": living}


def partition(clients: list[Client], name: str, *, mend_at_once: bool) -> dict[str, object]:
    """The network of the host that has a run is cut; the other host takes the run over.

    Args:
        clients: the two hosts.
        name: of the workspace.
        mend_at_once: whether the network comes back while the first host still runs the task, or long after.
    """
    one, two = clients
    seconds = 60 if mend_at_once else 20
    storm = SharedStorm([one], name, runs=1, seconds=seconds, orphans=2)
    storm.prepare()
    first = storm.start_worker()
    wait_for(storm.executions, "a task runs", 120)
    one.cut()
    storm.clients = [one, two]
    storm._turn = itertools.cycle([two])
    second = storm.start_worker()
    taken = wait_for(lambda: len(storm.executions()) > 1, "the other host takes the run over", 300)
    if not mend_at_once:
        wait_for(lambda: storm.executions()[0].ended, "the first host's task comes to its end", 120)
        time.sleep(5)
    mended = time.monotonic_ns()
    one.mend()
    deadline = time.monotonic() + 2 * seconds
    while time.monotonic() < deadline and members(first.pid)["child"]:
        time.sleep(0.1)
    stopped = (storm.executions()[0].last - mended) / 1e9
    wait_for(lambda: storm.completed() == 1, "the run is done", 10 * seconds)
    lived = first.poll() is None and second.poll() is None
    storm.end()
    found = history_checker.violations(storm.evidence(), IDS, stale=True)
    # While the first host cannot hear that it has lost the run both execute it; that is the contract.
    return {
        "findings": [f for f in (*storm._lost(), *found) if "overlap" not in f and "went on after" not in f]
        + left_behind(storm.alive),
        "overlaps": [f for f in found if "overlap" in f],
        "seconds until taken over": round(taken, 1),
        "seconds until stopped": round(stopped, 1),
        "ended": storm.executions()[0].ended,
        "both workers lived on": lived,
        "log": (storm.folder / "workers.log").read_text()[-600:],
    }


def refusal(clients: list[Client]) -> dict[str, object]:
    """A worker on a mount whose locks each host grants to itself, and the same for a lock that is gone."""
    (one, _) = clients
    storm = SharedStorm([one], "refusal", runs=1, seconds=1)
    storm.prepare()
    one.unmount()
    one.mount("nfs", "vers=3,nolock,proto=tcp", "/export")
    before = tree(LAB / "refusal")
    done = subprocess.run(
        one.enter(sys.executable, "-m", "job_orchestration", "work", "--until-idle"),
        env=storm.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    mounted = one.run(f"grep ' {LAB} ' /proc/self/mountinfo")
    one.unmount()
    changed = before.keys() ^ tree(LAB / "refusal").keys()
    return {"code": done.returncode, "said": done.stderr, "mount": mounted, "findings": sorted(changed)}


def play() -> None:
    """All parts, one after the other; one that fails says so and does not stop the others."""
    server = Server()
    clients = [Client(1), Client(2)]
    for client in clients:
        client.mount("nfs4", "vers=4.2,hard", "/")
    parts = {
        "kills": lambda: kills(clients),
        "partition": lambda: partition(clients, "partition", mend_at_once=True),
        "long partition": lambda: partition(clients, "long", mend_at_once=False),
        "back and forth": lambda: back_and_forth(clients),
        "restart": lambda: restart(clients, server),
        "v3 nolock": lambda: refusal(clients),
    }
    wanted = sys.argv[1:] or list(parts)
    for name in wanted:
        try:
            found = parts[name]()
        except BaseException:  # noqa: BLE001  # the guest ends after this; what is known must be printed
            found = {"findings": [traceback.format_exc()], "dmesg": sh("dmesg | tail -n 30", check=False)}
        print(f"{MARK}{json.dumps({'part': name, **found})}", flush=True)


if __name__ == "__main__":
    play()
