"""What somebody who watches a folder is told of, by the system itself."""

from __future__ import annotations

import os
import shutil

import pytest

from job_orchestration.engine.arrivals import Arrivals
from job_orchestration.engine.queue import FolderEvents
from job_orchestration.files import workspace as workspaces
from tests.integration.arena import eventually


@pytest.fixture
def workspace(tmp_path):
    return workspaces.prepare(str(tmp_path / "workspace"))


@pytest.fixture(params=["drops", "tokens"])
def watched(request, workspace):
    """A folder, and what is called whenever something is told of it."""
    told = []
    if request.param == "drops":
        folder = workspace.sources
        watcher = Arrivals(workspace, lambda: told.append(1))
    else:
        folder = workspace.to_run
        watcher = FolderEvents(workspace, [folder], lambda: told.append(1))
    watcher.start()
    yield folder, told
    watcher.stop()


@pytest.mark.parametrize("how", ["removed", "moved away"])
def test_a_folder_that_is_made_anew_is_watched_as_the_old_one_was(watched, tmp_path, how):
    folder, told = watched
    if how == "removed":
        shutil.rmtree(folder)
    else:
        os.rename(folder, tmp_path / "old")
    os.mkdir(folder)
    eventually(lambda: told)
    told.clear()
    (tmp_path / "a.yaml").write_text("")
    os.rename(tmp_path / "a.yaml", os.path.join(folder, "a.yaml"))
    eventually(lambda: told)
