"""Looks for inputs that a target of the fuzz cannot stand, for a number of inputs::

    python tests/faults/guided_fuzzing.py TARGET CORPUS INPUTS SEED

libFuzzer looks, guided by the branches that its inputs reach, where `atheris` is there; what it learns is
kept in the folder CORPUS. Elsewhere they are the numbered inputs of `fuzzing`, others for each SEED.
"""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    atheris = None

if TYPE_CHECKING:
    from tests.faults.fuzzing import Target

SEEN = ("job_orchestration.config", "job_orchestration.runs", "job_orchestration.workspace")


def imported() -> Any:
    """The module of the targets; what it imports of the product has its branches seen."""
    with atheris.instrument_imports(include=list(SEEN)) if atheris else nullcontext():
        for name in ("config.validation", "workspace.heartbeats", "runs.event_codec", "runs.journal"):
            importlib.import_module(f"job_orchestration.{name}")
    return importlib.import_module("tests.faults.fuzzing")


def search(fuzzing: Any, target: Target, corpus: Path, *flags: str) -> None:
    """Let libFuzzer search from the target's seeds on; it ends the process."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    words = corpus.with_suffix(".words")
    words.write_text("".join(f'"{_in_hex(word)}"\n' for word in target.words if len(word) < 100))
    call = target.make()

    def one(data: bytes) -> None:
        with fuzzing.limited():
            call(data)

    atheris.Setup([sys.argv[0], str(corpus), f"-dict={words}", "-max_len=20000", *flags], one)
    atheris.Fuzz()


def _in_hex(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Look for so many inputs."""
    name, corpus, inputs, seed = sys.argv[1:]
    fuzzing = imported()
    if atheris:
        flags = (
            f"-runs={inputs}",
            f"-seed={seed}",
            "-rss_limit_mb=0",
            "-print_final_stats=1",
            "-verbosity=0",
        )
        search(fuzzing, fuzzing.TARGETS[name], Path(corpus), *flags, f"-artifact_prefix={corpus}.found-")
    else:
        first = int(seed) * int(inputs)
        fuzzing.throw(name, itertools.islice(itertools.count(first), int(inputs)), math.inf)


if __name__ == "__main__":
    main()
