"""The pages for users of earlier systems name a test in each line, and each of them is there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

JOBS_GUIDE = ROOT / "docs" / "coming-from" / "geneplexus-mljob.md"
JOBS_ROW = re.compile(r"^\| ((?:B-)?GP-\d\d) \| .+ \| `(\S+\.py)` `(test_\w+)` \|$", re.MULTILINE)
GUIDE = ROOT / "docs" / "coming-from" / "job-orchestration.md"
FUNCTIONS_GUIDE = ROOT / "docs" / "coming-from" / "dl-jobs.md"
ROW = r"^\| {}-(\d\d) \| .+ \| .+ \| `(\S+\.py)` `(test_\w+)` \|$"


@pytest.mark.parametrize(("guide", "letters", "last"), [(GUIDE, "JO", 53), (FUNCTIONS_GUIDE, "DL", 34)])
def test_every_line_names_a_test_that_is_there(guide, letters, last):
    rows = re.findall(ROW.format(letters), guide.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, last + 1))
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), (file, name)


def test_every_line_about_jobs_of_the_web_application_names_a_test_that_is_there():
    text = JOBS_GUIDE.read_text(encoding="utf-8")
    rows = JOBS_ROW.findall(text)
    assert len(rows) == len(re.findall(r"^\| (?:B-)?GP-", text, re.MULTILINE))
    promised = [*range(1, 8), *range(9, 13), 14, 18, 20, 21, *range(23, 26), *range(28, 32), *range(34, 37)]
    promised += [*range(39, 50), 52, 53, *range(55, 58), 59, 65, 66]
    numbers = [number for number, _, _ in rows]
    assert numbers == [*(f"GP-{n:02d}" for n in promised), *(f"B-GP-{n:02d}" for n in range(1, 20))]
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), (file, name)
