"""Has libFuzzer look for inputs that a target of the fuzz cannot stand, guided by the branches they reach::

    python tests/faults/guided.py reader CORPUS -runs=50000

It needs `atheris`, and uses what is learnt in the folder CORPUS. Flags are libFuzzer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["job_orchestration.rules", "job_orchestration.files"]):
    import job_orchestration.files.beats
    import job_orchestration.files.journal
    import job_orchestration.rules.checking  # noqa: F401  # imported first so that its branches are seen

from tests.faults.fuzzing import TARGETS, limited


def main() -> None:
    """Search from the target's seeds on."""
    target, corpus, *flags = sys.argv[1:]
    make, seeds, words = TARGETS[target]
    Path(corpus).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        Path(corpus, f"seed{number}").write_bytes(seed)
    known = Path(corpus).with_suffix(".words")
    known.write_text("".join(f'"{_in_hex(word)}"\n' for word in words if len(word) < 100))
    call = make()

    def one(data: bytes) -> None:
        with limited():
            call(data)

    atheris.Setup([sys.argv[0], corpus, f"-dict={known}", "-max_len=20000", *flags], one)
    atheris.Fuzz()


def _in_hex(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
