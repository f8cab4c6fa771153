"""Where the bytecode of pinned code goes, seen in interpreters of their own."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
IMPORTS = """
import sys
from job_orchestration.code import task_importer

snapshot, cache, other = sys.argv[1:4]
task_importer.keep_apart(snapshot, cache)
sys.path[:0] = [snapshot, other]
import Tasks, package.inner, beside
print(Tasks.VALUE, package.inner.VALUE, beside.VALUE, sys.pycache_prefix, sys.dont_write_bytecode)
"""


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path, Path]:
    snapshot, other = tmp_path / "snapshot", tmp_path / "other"
    (snapshot / "package").mkdir(parents=True)
    other.mkdir()
    (snapshot / "Tasks.py").write_text("VALUE = 1\n")
    (snapshot / "package" / "inner.py").write_text("VALUE = 2\n")
    (other / "beside.py").write_text("VALUE = 3\n")
    return snapshot, tmp_path / "cache", other


def run(code: str, *arguments: object, **environment: str) -> str:
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
    inherited = {key: value for key, value in os.environ.items() if key not in left_out}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, env={**inherited, **environment}, cwd=TOP, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def compiled(folder: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in folder.rglob("*.pyc")}


def test_only_the_snapshots_bytecode_goes_into_the_cache_and_none_into_the_snapshot(folders):
    snapshot, cache, other = folders
    assert run(IMPORTS, *folders) == "1 2 3 None False"
    assert compiled(snapshot) == set()
    assert compiled(cache) == {"Tasks", "inner"}, "nor is anything else compiled again for this workspace"
    assert compiled(other) == {"beside"}


def test_the_cache_is_kept_and_read_where_python_writes_no_bytecode(folders):
    snapshot, cache, other = folders
    assert run(IMPORTS, *folders, PYTHONDONTWRITEBYTECODE="1") == "1 2 3 None True"
    assert compiled(cache) == {"Tasks", "inner"}
    assert compiled(other) == set()
    kept = next(cache.rglob("Tasks.*.pyc"))
    written = kept.stat().st_mtime_ns
    seen = run(f"{IMPORTS}\nprint(Tasks.__spec__.loader.get_code('Tasks').co_filename)", *folders)
    assert seen.splitlines()[-1] == str(snapshot / "Tasks.py")
    assert kept.stat().st_mtime_ns == written


def test_programs_that_tasks_start_leave_no_bytecode_in_the_snapshot(folders):
    snapshot, _, _ = folders
    program = "\nimport subprocess\nsubprocess.run([sys.executable, '-c', 'import Tasks'], cwd=snapshot)"
    run(IMPORTS + program, *folders)
    assert compiled(snapshot) == set()


FROM_ANYWHERE = """
import os, sys
from job_orchestration.code import task_importer

task_importer.keep_apart(*sys.argv[1:3])
os.chdir(sys.argv[1])
"""


def test_modules_are_found_in_archives_and_without_their_source_as_everywhere(folders):
    snapshot, cache, _ = folders
    with zipfile.ZipFile(snapshot / "library.zip", "w") as archive:
        archive.writestr("zipped.py", "VALUE = 4\n")
    py_compile.compile(str(snapshot / "Tasks.py"), str(snapshot / "compiled.pyc"))
    code = "sys.path[:0] = [sys.argv[1], sys.argv[1] + '/library.zip']\nimport compiled, zipped\n"
    assert run(f"{FROM_ANYWHERE}{code}print(compiled.VALUE, zipped.VALUE)", snapshot, cache) == "1 4"


@pytest.mark.parametrize("way", ["'package'", "os.path.realpath('package')", "'../snapshot/package'"])
def test_the_snapshots_bytecode_is_kept_apart_whichever_way_its_folders_are_named(folders, tmp_path, way):
    snapshot, cache, _ = folders
    (tmp_path / "link").symlink_to(tmp_path)
    code = f"sys.path.insert(0, {way})\nimport inner\n"
    assert run(f"{FROM_ANYWHERE}{code}print(inner.VALUE)", tmp_path / "link" / "snapshot", cache) == "2"
    assert compiled(snapshot) == set()
    assert compiled(cache) == {"inner"}


def test_a_fork_while_another_thread_imports_leaves_a_child_that_can_import_too(folders):
    snapshot, cache, _ = folders
    code = """
import signal, threading, warnings
from importlib.machinery import SourceFileLoader

warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, sys.argv[1])
compiling, go_on = threading.Event(), threading.Event()
compile_as_ever = SourceFileLoader.source_to_code

def slowly(self, data, path, **more):
    compiling.set()
    go_on.wait(0.2)
    return compile_as_ever(self, data, path, **more)

SourceFileLoader.source_to_code = slowly
thread = threading.Thread(target=lambda: __import__("Tasks"))
thread.start()
compiling.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    import package.inner
    os._exit(0 if sys.pycache_prefix is None else 1)
thread.join()
print(os.waitpid(child, 0)[1])
"""
    assert run(f"{FROM_ANYWHERE}{code}", snapshot, cache) == "0"
