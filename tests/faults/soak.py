"""The long fault suite, part by part: ``make soak``, or one part of it with ``make soak PART=F7``.

A part that has passed is not run again unless asked for (``make soak AGAIN=1``, or by its name), so an
interrupted soak goes on where it was. What each part measured, and when, is put into the page
``docs/reliability.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parent.parent
KEPT = TOP / ".soak"
REPORT = TOP / "docs" / "reliability.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def parts() -> dict[str, list[Path]]:
    """The parts that have tests, by name: ``F4`` is in ``test_f04_*.py``."""
    found: dict[str, list[Path]] = {}
    for path in sorted(HERE.glob("test_f[0-9][0-9]_*.py")):
        found.setdefault(f"F{int(path.name[6:8])}", []).append(path)
    return found


def run(part: str, files: list[Path]) -> dict[str, object]:
    """Run one part in its long form; returns what is to be kept of it."""
    figures = KEPT / f"{part}.figures"
    figures.unlink(missing_ok=True)
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "soak", *map(str, files)]
    code = subprocess.run(
        command, cwd=TOP, env={**os.environ, "SOAK_FIGURES": str(figures)}, check=False
    ).returncode
    lines = figures.read_text().splitlines() if figures.exists() else []
    return {
        "part": part,
        "passed": code == 0,
        "seconds": round(time.monotonic() - started),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "figures": [json.loads(line) for line in lines],
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
        kept = KEPT / f"{part}.json"
        if kept.exists() and not again and json.loads(kept.read_text())["passed"]:
            print(f"{part}: passed before; make soak AGAIN=1 runs it again")
            continue
        print(f"== {part}", flush=True)
        result = run(part, parts()[part])
        kept.write_text(json.dumps(result, indent=1))
        print(f"== {part}: {'passed' if result['passed'] else 'FAILED'} in {result['seconds']} s", flush=True)
        if not result["passed"]:
            failed.append(part)
    known = sorted(parts(), key=lambda p: int(p[1:]))
    report([json.loads((KEPT / f"{p}.json").read_text()) for p in known if (KEPT / f"{p}.json").exists()])
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
