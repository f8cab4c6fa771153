"""Format what a run used, its inputs and its overhead for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_orchestration.diagnostics import durations, sizes
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.commands.show import Shown
    from job_orchestration.runs.events import Usage
    from job_orchestration.runs.run_usage import Asked

_HOW = {"changed": "changed", "gone": "was removed", "new": "appeared"}
_NAMED = 5


def cells(usage: Usage | None) -> tuple[str, ...]:
    """Return CPU, memory, bytes read and bytes written as cells of a table."""
    if usage is None:
        return ("", "", "", "")
    numbers = (usage.peak_bytes, usage.read_bytes, usage.written_bytes)
    return durations.text_of(usage.cpu_s), *("" if n is None else sizes.text_of(n) for n in numbers)


def facts(found: Shown) -> dict[str, str]:
    """Return the lines of ``show`` about what the run used."""
    usage = found.entry.usage
    if usage is None:
        return {}
    cpu, memory, read, written = cells(usage)
    moved = f", read {read}, wrote {written}" if read and written else ""
    return {
        "used": f"{cpu} of CPU, {memory} of memory at most{moved}",
        "asked": "; ".join(map(_compared, found.asked)),
        "overhead": _overhead(found),
    }


def _compared(one: Asked) -> str:
    if one.resource == "memory":
        return f"memory {sizes.text_of(one.asked)}, used {sizes.text_of(one.used)}"
    return f"{one.resource} {one.asked:g}, used {one.used:.1f}"


def _overhead(found: Shown) -> str:
    """Return how much of the time of an ended run its tasks took."""
    whole, tasks = found.entry.elapsed_s, found.tasks_s
    if found.entry.ended_at is None or whole is None or not tasks:
        return ""
    return f"tasks {tasks:.2f} s of {max(whole, tasks):.2f} s"


def preloads(found: Shown) -> Iterator[str]:
    """Yield a line of ``show`` for each task whose `preload` was called for this run."""
    for task in found.tasks:
        if task.preload_s is not None:
            grown = f", {task.preload_mb:g} MB" if task.preload_mb else ""
            yield f"task {escaped(task.id)} preloaded in {durations.text_of(task.preload_s)}{grown}"


def inputs(found: Shown) -> Iterator[str]:
    """Yield the lines of ``show`` about the inputs of a run."""
    about = (found.provenance or {}).get("inputs")
    if not isinstance(about, dict):
        return
    number, size = about.get("files"), about.get("bytes")
    if isinstance(number, int) and isinstance(size, int):
        many = "file" if number == 1 else "files"
        digest = escaped(str(about.get("digest"))[:12])
        yield f"inputs: {number} {many}, {sizes.text_of(size)}, sha256 {digest}"
    missing = about.get("missing")
    for pattern in missing if isinstance(missing, list) else ():
        yield f"warning: input {escaped(str(pattern))} was not there when the run began"
    for change in found.changed_inputs[:_NAMED]:
        task = change.get("task")
        when = f"while task {escaped(str(task))} ran" if task else "after the run had begun"
        how = _HOW.get(str(change["how"]), "changed")
        yield f"warning: input {escaped(str(change['path']))} {how} {when}"
    if len(found.changed_inputs) > _NAMED:
        yield f"warning: … and {len(found.changed_inputs) - _NAMED} more inputs"
