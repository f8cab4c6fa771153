"""Every block of the README and the docs is run: commands in a shell, files as they stand.

A document is one story. Its ``console`` blocks go through one shell, so that ``cd`` and ``export`` last. A
``python`` or ``yaml`` block is a file, whose name is the comment in its first line. Lines of a console block
without ``$`` are what a command prints: each must be among its lines, in that order, with ``…`` for
anything. A command ends with exit code 0 unless ``# exit code N`` stands behind it. What is not to be run
is marked ``text``.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import LIMIT, ROOT

DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "workspace_template/**/*.md") for path in ROOT.glob(pattern)
)
STORIES = [path for path in DOCUMENTS if "```console" in path.read_text()]
QUICK = "README.md"
"""The story that `make test` runs as well."""
ELSEWHERE = ("make", "pip")
"""Commands that are tested elsewhere: `make demo` by its own test, `make test` by your reading this."""
MARK = "\x1e"
"""Stands between the commands in what the shell prints, with the exit code of the one before."""


class Block(NamedTuple):
    """One fenced block."""

    language: str
    text: str
    line: int


class Command(NamedTuple):
    """One command of a story, and what is said of it."""

    words: str
    code: int
    prints: list[str]
    line: int


def blocks_of(path):
    """The fenced blocks of a document, in order."""
    text = path.read_text()
    found = [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    assert len(found) == len(re.findall(r"^```", text, re.MULTILINE)) / 2, "a block is not closed"
    return found


def commands_of(block):
    """The commands of a console block."""
    found = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            code = re.search(r"# exit code (\d+)$", line)
            found.append(Command(line[2:], int(code[1]) if code else 0, [], block.line))
        else:
            assert found, f"line {block.line}: what is printed comes after a command"
            found[-1].prints.append(line)
    return found


def file_of(block):
    """The name in the first line of a block that is a file."""
    match = re.match(r"# (\S+\.(?:py|yaml))\n", block.text)
    assert match, f"line {block.line}: the first line must name the file, as in `# ~/Tasks.py`"
    return match[1].replace("~", "$HOME", 1)


def story_of(path):
    """A document as a shell script, and the commands in it."""
    script, commands = [], []
    for block in blocks_of(path):
        if block.language in {"python", "yaml"}:
            script.append(f"cat > \"{file_of(block)}\" <<'END_OF_FILE'\n{block.text}END_OF_FILE")
        elif block.language == "console":
            for command in commands_of(block):
                if command.words.split()[0] not in ELSEWHERE:
                    commands.append(command)
                    script.append(f"{command.words}\nprintf '{MARK}%s{MARK}' $?")
    return "\n".join(script), commands


def shows(printed, expected):
    """Whether the expected lines are among the printed ones, in their order; ``…`` stands for anything."""
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    lines = iter(printed.splitlines())
    return all(any(re.fullmatch(pattern, line.rstrip()) for line in lines) for pattern in patterns)


@pytest.fixture
def home(tmp_path):
    """The folder that the documents call /home/you."""
    home = tmp_path / "you"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n name = You\n email = you@example.org\n")
    return home


def make_data_in(folder):
    """The data that the documents call /data."""
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        from make_data import make_data
    finally:
        sys.path.remove(str(ROOT / "demo"))
    data = make_data(folder / "geneplexus")
    (folder / "my_genes.txt").write_text((data / "genesets" / "alpha.txt").read_text())


def environment_of(home):
    """A newcomer's environment: nothing of the tester's own settings of git or of this program."""
    unwanted = ("GIT_", "JOB_ORCHESTRATION", "PYTHON", "XDG_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    programs = Path(sys.executable).parent
    return {**kept, "HOME": str(home), "PATH": f"{programs}{os.pathsep}{kept['PATH']}", "NO_COLOR": "1"}


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.name == QUICK else pytest.mark.slow) for path in STORIES],
    ids=[str(path.relative_to(ROOT)) for path in STORIES],
)
@pytest.mark.seed_fault("B-JO-31")
def test_every_command_and_file_of_a_document_works_as_it_stands(path, home):
    pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")
    script, commands = story_of(path)
    if "/data/" in script:  # only some need it, and it takes a while
        make_data_in(home.parent / "data")
    script = script.replace("demo/webapp", str(ROOT / "demo" / "webapp"))
    script = script.replace("/home/you", str(home)).replace("/data/", f"{home.parent}/data/")
    done = subprocess.run(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        cwd=home,
        env=environment_of(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
    parts = done.stdout.split(MARK)
    assert len(parts) == 2 * len(commands) + 1, done.stdout
    for command, printed, code in zip(commands, parts[::2], parts[1::2], strict=False):
        where = f"{path.name}, the block in line {command.line}: {command.words}\n{printed}"
        assert "Traceback" not in printed, where
        assert int(code) == command.code, where
        assert shows(printed, command.prints), f"{where}\nis not {command.prints}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_a_document_says_what_it_is(path):
    for block in blocks_of(path):
        assert block.language in {"console", "python", "yaml", "text", "mermaid"}, block.line


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_commands_that_are_not_run_here_name_what_there_is():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    commands = [c.words.split() for path in STORIES for b in blocks_of(path) for c in console(b)]
    for words in commands:
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), words
        if words[0] == "pip":
            assert set(re.findall(r"\[(\w+)\]", " ".join(words))) <= set(extras), words


def console(block):
    """The commands of a block, none when it is no console block."""
    return commands_of(block) if block.language == "console" else []


def test_the_readme_names_every_command():
    from job_orchestration.cli.command_table import COMMANDS

    text = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert re.search(rf"\b{command.name}\b", text), command.name
