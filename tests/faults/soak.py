"""The long fault suite, part by part: ``make soak``, or one part of it with ``make soak PART=F7``.

A part that has passed is not run again unless asked for (``make soak AGAIN=1``, or by its name), nor is a
test that has passed in a part that has not; so an interrupted soak goes on where it was. What each part
measured, and when, is put into the page ``docs/reliability.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOP = HERE.parent.parent
KEPT = TOP / ".soak"
REPORT = TOP / "docs" / "reliability.md"
NOTHING_COLLECTED = 5
"""pytest's exit code for that."""
GROUP = {"F9"}
"""Parts whose tests look at one play that takes long; the others' tests are run, and kept, one by one."""
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


PARTS = {
    "F1": "test_kill_storm.py",
    "F2": "test_stop_signals.py",
    "F3": "test_killed_processes.py",
    "F4": "test_durable_operations.py",
    "F5": "test_failing_system_calls.py",
    "F6": "test_power_cut_replay.py",
    "F7": "test_power_cuts.py",
    "F8": "test_mutants.py",
    "F9": "test_nfs.py",
    "F10": "test_floods.py",
    "F11": "test_fuzzing.py",
    "F12": "test_bad_drops.py",
    "F13": "test_supervision.py",
    "F14": "test_full_disk.py",
    "F15": "test_clocks.py",
    "F17": "test_history_checker.py",
    "F18": "test_f18_combination.py",
    "F19": "test_scripts_and_tasks.py",
}
"""The file of each part, by the number that ``docs/reliability.md`` gives it."""


def parts() -> dict[str, list[Path]]:
    """The parts that have tests, by name."""
    return {part: [HERE / name] for part, name in PARTS.items()}


def tests_of(files: list[Path]) -> list[str]:
    """The long tests in some files, as pytest calls them; there may be none.

    Raises:
        SystemExit: when they cannot be collected: what was not played has not passed.
    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "soak", *map(str, files)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode not in {0, NOTHING_COLLECTED}:
        raise SystemExit(f"The long tests cannot be collected:\n{done.stdout}{done.stderr}")
    return [line for line in done.stdout.splitlines() if "::" in line]


def run_test(part: str, name: str) -> dict[str, object]:
    """Run one long test; returns what is to be kept of it."""
    figures = KEPT / f"{part}.figures"
    figures.unlink(missing_ok=True)
    started = time.monotonic()
    environment = {**os.environ, "SOAK_FIGURES": str(figures), "HYPOTHESIS_PROFILE": "random"}
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-m", "soak", name],
        cwd=TOP,
        env=environment,
        check=False,
    ).returncode
    lines = figures.read_text().splitlines() if figures.exists() else []
    figures.unlink(missing_ok=True)
    return {
        "test": name,
        "passed": code == 0,
        "seconds": round(time.monotonic() - started),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "figures": [json.loads(line) for line in lines],
    }


def run(part: str, files: list[Path], *, again: bool) -> dict[str, object]:
    """Run those tests of a part that have not passed; returns what is to be kept of all of them."""
    begun = KEPT / f"{part}.begun"
    known: dict[str, Any] = {} if again or not begun.exists() else json.loads(begun.read_text())
    names = [str(path.relative_to(TOP)) for path in files] if part in GROUP else tests_of(files)
    for name in names:
        if known.get(name, {}).get("passed"):
            print(f"{name}: passed before", flush=True)
            continue
        known[name] = run_test(part, name)
        begun.write_text(json.dumps(known, indent=1))
    found = [known[name] for name in names]
    passed = all(test["passed"] for test in found)
    if passed:
        begun.unlink(missing_ok=True)
    return {
        "part": part,
        "passed": passed,
        "seconds": sum(test["seconds"] for test in found),
        "date": max((test["date"] for test in found), default=""),
        "figures": [figure for test in found for figure in test["figures"]],
    }


def report(results: list[dict[str, object]]) -> None:
    """Put what was measured into the report, between its two marks."""
    rows = ["| part | figure | seen | date | took |", "|---|---|---|---|---|"]
    for result in results:
        figures = result["figures"]
        assert isinstance(figures, list)
        for number, found in enumerate(figures):
            took = f"{result['seconds']} s" if number == 0 else ""
            rows.append(
                f"| {result['part']} | {found['what']} | {found['value']} | {result['date']} | {took} |"
            )
    text = REPORT.read_text() if REPORT.exists() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    REPORT.write_text(f"{head}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{tail}")


def main() -> int:
    """Run what is asked for and not done yet; 1 when a part failed."""
    KEPT.mkdir(exist_ok=True)
    wanted = os.environ.get("PART", "").split() or list(parts())
    again = bool(os.environ.get("AGAIN")) or bool(os.environ.get("PART"))
    failed = []
    for part in wanted:
        ended = KEPT / f"{part}.json"
        if ended.exists() and not again and json.loads(ended.read_text())["passed"]:
            print(f"{part}: passed before; make soak AGAIN=1 runs it again")
            continue
        if not tests_of(parts()[part]):
            print(f"{part}: has no long form of its own")
            continue
        print(f"== {part}", flush=True)
        result = run(part, parts()[part], again=bool(os.environ.get("AGAIN")))
        ended.write_text(json.dumps(result, indent=1))
        print(f"== {part}: {'passed' if result['passed'] else 'FAILED'} in {result['seconds']} s", flush=True)
        if not result["passed"]:
            failed.append(part)
    known = sorted(parts(), key=lambda p: int(p[1:]))
    kept = [json.loads((KEPT / f"{p}.json").read_text()) for p in known if (KEPT / f"{p}.json").exists()]
    report([result for result in kept if result["passed"]])
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
