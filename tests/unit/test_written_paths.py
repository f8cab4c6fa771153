"""Every path in a config that this program writes to stays inside its folder, by one rule."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.config import key_reference, sweep_key_reference
from job_orchestration.diagnostics.problems import Fault
from job_orchestration.geneplexus import known_keys
from job_orchestration.geneplexus.settings import REFUSED
from job_orchestration.hyperparameter_optimisation import space
from job_orchestration.search import searches
from job_orchestration.workspace import naming

READ = {"pathToTasks", "genesetPath", "negativesPath", "inputs"}
"""The keys whose path is only read."""
TOO_FAR = (
    "/etc/motd",
    "~/x",
    "~root/x",
    "../../workspace.yaml",
    "a/../../b",
    "..",
    ".",
    "",
    "a\0b",
    "/dev/null",
)


def output_dir(path: str) -> str | Fault:
    return naming.render_output_dir(path, name="a", now=datetime(2026, 11, 20, tzinfo=UTC), commit=None)


WRITTEN = {"outputDir": output_dir, "baseOutputDir": output_dir, "resultsFilepath": searches.results_path}
"""The keys whose path is written to, with the rule that each goes through."""


def keys_of_a_path() -> set[str]:
    """The keys of all tables of keys that are paths: by their kind, or by their name."""
    tables = [
        t
        for module in (key_reference, sweep_key_reference)
        for name, t in vars(module).items()
        if name.isupper() and isinstance(t, dict)
    ]
    named = {key for table in tables for key in table if isinstance(key, str)}
    kinds = {k for t in tables for k, known in t.items() if getattr(known, "kind", "").startswith("path")}
    code = Path(space.__file__).read_text()
    others = (set(known_keys._ALL) - set(REFUSED)) | set(re.findall(r'"([a-z]\w+)"', code))
    return kinds | {k for k in named | others if re.search("(?i)path|dir$|folder", k)}


def test_each_key_that_is_a_path_is_known_as_read_or_as_written():
    assert keys_of_a_path() - READ == set(WRITTEN), "a new key goes through the rule, or is only read"


@pytest.mark.parametrize("key", WRITTEN)
@pytest.mark.parametrize("path", TOO_FAR)
def test_a_path_that_leaves_its_folder_is_refused(key, path):
    assert isinstance(WRITTEN[key](path), Fault)


@given(st.sampled_from(sorted(WRITTEN)), st.text(st.sampled_from("ab./~\\ \0{}"), max_size=12))
def test_no_text_leads_outside(key, path):
    found = WRITTEN[key](path)
    if isinstance(found, str):
        parts = found.split("/")
        assert parts
        assert not {"", ".", "..", "~"} & set(parts)
