"""What a folder watcher reports, as the system itself reports it."""

from __future__ import annotations

import os
import shutil

import pytest

from job_orchestration.workspace import layout
from job_orchestration.workspace.folder_watcher import FolderWatcher
from tests.integration.harness import eventually


@pytest.fixture
def workspace(tmp_path):
    return layout.prepare(str(tmp_path / "workspace"))


@pytest.fixture(params=["drops", "tokens"])
def watched(request, workspace):
    """A folder, and the list that gets an item whenever something is reported of it."""
    reported = []
    folder = workspace.sources if request.param == "drops" else workspace.to_run
    watcher = FolderWatcher(workspace, [folder], lambda: reported.append(1))
    watcher.start()
    yield folder, reported
    watcher.stop()


@pytest.mark.parametrize("how", ["removed", "moved away"])
def test_a_folder_that_is_made_anew_is_watched_as_the_old_one_was(watched, tmp_path, how):
    folder, reported = watched
    if how == "removed":
        shutil.rmtree(folder)
    else:
        os.rename(folder, tmp_path / "old")
    os.mkdir(folder)
    eventually(lambda: reported)
    reported.clear()
    (tmp_path / "a.yaml").write_text("")
    os.rename(tmp_path / "a.yaml", os.path.join(folder, "a.yaml"))
    eventually(lambda: reported)
