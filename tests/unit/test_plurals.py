"""A number agrees with the noun that it counts."""

from __future__ import annotations

import re

from job_orchestration.diagnostics.plurals import counted
from tests.conftest import ROOT


def test_one_is_singular_and_every_other_number_is_plural():
    assert counted(1, "run") == "1 run"
    assert [counted(n, "try", "tries") for n in (0, 1, 2)] == ["0 tries", "1 try", "2 tries"]
    assert counted(2, "run waits", "runs wait") == "2 runs wait"


def test_no_module_makes_a_plural_of_its_own():
    own = re.compile(r"""\("" if .{1,40} == 1 else "s"\)|"1 [a-z ]+" if""")
    package = ROOT / "job_orchestration"
    assert [
        str(path.relative_to(ROOT))
        for path in package.rglob("*.py")
        if path.name != "plurals.py" and own.search(path.read_text(encoding="utf-8"))
    ] == []
