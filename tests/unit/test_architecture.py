"""Test that `docs/architecture.md` and `docs/glossary.md` say what the code says: picture and names."""

import ast
import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "job_orchestration"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
GLOSSARY = ROOT / "docs" / "glossary.md"


def pictures():
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs" / "make_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_defined(name):
    """Whether ``package/module.name`` is what some file of the package defines."""
    place, *names = name.split(".")
    tree = ast.parse((PACKAGE / f"{place}.py").read_text())
    for wanted in names:
        tree = next((node for node in tree.body if getattr(node, "name", None) == wanted), None)
        if tree is None:
            return False
    return True


def test_the_picture_is_made_from_the_import_contracts():
    assert ARCHITECTURE.read_text() == pictures().page_with_picture(ARCHITECTURE.read_text()), (
        "run: make docs"
    )


def test_every_package_has_a_paragraph():
    text = ARCHITECTURE.read_text()
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not {name for name in packages if f"**`{name}/`**" not in text}


def test_every_function_that_the_page_names_is_there():
    named = re.findall(r"`([a-z_]+/[a-z_]+\.[A-Za-z_.]+)`", ARCHITECTURE.read_text())
    assert len(named) >= 30, "the three walks name functions"
    assert not [name for name in named if not is_defined(name)]


def test_every_module_that_the_glossary_names_is_there():
    named = re.findall(r"`([a-z_]+/[a-z_]+)`", GLOSSARY.read_text())
    assert len(named) >= 20
    assert not [name for name in named if not (PACKAGE / f"{name}.py").is_file()]
