"""The quick tests as other people start them: ``make test-variants``, or some with ``ARGS="nohup umask"``.

Each variant runs `make test`'s selection in a copy of this checkout and prints one line with its time and
pytest's summary; the output of a variant that failed is printed as well. A variant that cannot be made here
is reported as skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PLAIN_USER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
SELECTION = ("-m", "not slow and not soak and not bench", "--dist", "loadfile", "--no-loadscope-reorder")
LIMIT = 1800
"""Seconds after which a variant is stopped."""
LEFT_OUT = shutil.ignore_patterns(
    ".venv*",
    ".git",
    "__pycache__",
    "*.egg-info",
    ".hypothesis",
    ".*_cache",
    ".soak",
    ".bench",
    "demo_workspace",
)


@dataclass(frozen=True)
class Variant:
    """One way to start the tests.

    Attributes:
        folder: the name of the folder that holds the copy.
        prefix: the words before pytest's command, such as ``nohup``.
        variables: what is added to the environment.
        umask: of the process, or `None` for the caller's.
        closed: whether standard input is closed rather than empty.
        plain_user: whether the tests run as user 65534, which owns nothing else; only root can start that.
        jobs: the number of test processes, or `None` for ``$JOBS``.
    """

    folder: str = "checkout"
    prefix: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    umask: int | None = None
    closed: bool = False
    plain_user: bool = False
    jobs: str | None = None


VARIANTS = {
    "nohup": Variant(prefix=("nohup",)),
    "closed-stdin": Variant(closed=True),
    "plain-user": Variant(plain_user=True),
    "timezone": Variant(variables={"TZ": "Pacific/Apia"}),
    "language": Variant(variables={"LANG": "C", "LC_ALL": "C"}),
    "umask": Variant(umask=0o077),
    "space": Variant(folder="a folder with spaces"),
    "four-jobs": Variant(jobs="4"),
}


def skip_reason(variant: Variant) -> str:
    """Return why a variant cannot run here, or an empty string."""
    if variant.plain_user and os.geteuid() != 0:
        return "you are a plain user already: make test is this variant"
    if variant.plain_user and not shutil.which("setpriv"):
        return "setpriv is not installed"
    trial = [*PLAIN_USER, "env", sys.executable, "-c", ""]
    if variant.plain_user and subprocess.run(trial, stderr=subprocess.DEVNULL, check=False).returncode:
        return f"a plain user may not run {os.path.realpath(sys.executable)}"
    return ""


def command_of(variant: Variant, home: Path) -> list[str]:
    """Return the words that start pytest in the way of a variant; ``home`` is the plain user's."""
    jobs = variant.jobs or os.environ.get("JOBS") or "2"
    words = [*variant.prefix, sys.executable, "-m", "pytest", "-q", "-n", jobs, "-p", "no:cacheprovider"]
    words += [*SELECTION, "--basetemp", str(home / "tmp")]
    if variant.plain_user:
        words = [*PLAIN_USER, "env", f"HOME={home}", *words]
    return words


def run(name: str, variant: Variant) -> bool:
    """Run the tests in the way of a variant and print its line; return whether they passed."""
    reason = skip_reason(variant)
    if reason:
        print(f"{name:14} skipped: {reason}", flush=True)
        return True
    with tempfile.TemporaryDirectory(prefix="variant.", ignore_cleanup_errors=True) as made:
        home = Path(made)
        copy = home / variant.folder
        shutil.copytree(TOP, copy, ignore=LEFT_OUT, symlinks=True)
        if variant.plain_user:
            subprocess.run(["chown", "-R", "65534:65534", made], check=True)
        command = command_of(variant, home)
        if variant.closed:
            command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
        started = time.monotonic()
        with open(home / "output", "w+", encoding="utf-8", errors="replace") as output:
            try:
                code = subprocess.run(
                    command,
                    cwd=copy,
                    env={**os.environ, **variant.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    umask=-1 if variant.umask is None else variant.umask,
                    timeout=LIMIT,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
            output.seek(0)
            text = output.read()
    summary = (text.rstrip().splitlines() or ["no output"])[-1].strip("= ")
    print(f"{name:14} {time.monotonic() - started:4.0f} s  {summary}", flush=True)
    if code != 0:
        print(text, flush=True)
    return code == 0


def main() -> int:
    """Run the variants that the command line names, or all; 1 if one failed."""
    wanted = sys.argv[1:] or list(VARIANTS)
    unknown = sorted(set(wanted) - set(VARIANTS))
    if unknown:
        print(f"Unknown variant {unknown[0]}. There are: {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    passed = [run(name, VARIANTS[name]) for name in wanted]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
