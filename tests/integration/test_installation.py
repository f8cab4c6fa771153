"""The package as it is installed: from a wheel, from a source distribution, and as an editable install."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import LIMIT, ROOT

WAYS = ("wheel", "sdist", "editable")
SOURCES = (
    "job_orchestration",
    "workspace_template",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(way: str, folder: Path) -> Path:
    """Install a copy of the sources in a new environment, offline; return the environment's Python."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        run("cp", "-r", ROOT / name, checkout, folder=folder)
    venv.create(folder / "environment", system_site_packages=False, with_pip=False, symlinks=True)
    python = folder / "environment" / "bin" / "python"
    built = folder / "built"
    if way == "editable":
        what = ["--editable", checkout]
    else:
        run(sys.executable, "-m", "hatchling", "build", "-t", way, "-d", built, folder=checkout)
        what = [next(built.iterdir())]
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    here = next(path for path in sys.path if path.endswith("site-packages"))
    site = next((folder / "environment" / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{here}\n")  # of this environment: nothing is downloaded
    run(*pip, "install", "--no-deps", "--no-index", "--no-build-isolation", *what, folder=folder)
    return python


@pytest.mark.slow
def test_every_way_to_install_it_makes_the_same_workspace(tmp_path):
    made = {}
    for way in WAYS:
        folder = tmp_path / way
        folder.mkdir()
        python = installed(way, folder)
        where = run(python, "-c", "import job_orchestration as j; print(j.__file__)", folder=folder).strip()
        assert where.startswith(str(folder)), f"{way} runs what it installed"
        run(python, "-m", "job_orchestration", "init", "--workspace", folder / "workspace", folder=folder)
        made[way] = {
            str(path.relative_to(folder / "workspace")): path.read_bytes()
            for path in sorted((folder / "workspace").rglob("*"))
            if path.is_file()
        }
    assert "examples/Tasks.py.example" in made["wheel"]
    template = {path.name for path in (ROOT / "workspace_template").rglob("*") if path.is_file()}
    assert template <= {Path(name).name for name in made["wheel"]}
    assert made["wheel"] == made["sdist"] == made["editable"]
    assert os.listdir(tmp_path / "wheel" / "built")[0].endswith(".whl")
