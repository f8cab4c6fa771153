"""Twenty planted secrets stand in no file of a workspace but the config's own, and in no message.

The config's own files are the dropped file, ``config.yaml``, the token, the journal's first event, which is
the config, and ``source`` in ``provenance.json``, which is the dropped file as its author wrote it. The
committed code is its author's as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from job_orchestration.cli import render
from job_orchestration.commands.results import results
from job_orchestration.commands.show import show
from job_orchestration.diagnostics import secrets
from tests.integration.harness import git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.harness import Sandbox

TASKS = """
    import os

    from job_orchestration import TaskBase

    FORMS = FORMS_OF_SECRETS


    class Tells(TaskBase):
        def validate(self):
            said = [f"it knows {os.environ['DEPLOY_TOKEN']} and {FORMS['gitlab']}"]
            return said if self.config.get("invalid") else []

        def run(self):
            seen = [os.environ["MY_API_KEY"], os.environ["DB_PASSWORD"], self.config["token"]]
            seen += [self.config["service"]["password"], *FORMS.values()]
            raise ValueError(" and ".join(seen))
"""
ENVIRONMENT = {
    "MY_API_KEY": "q7Zr81kkP0x",
    "DB_PASSWORD": "correct horse battery",
    "DEPLOY_TOKEN": "d3pl0y-77-aa-91",
    "CUDA_SECRET": "cudacudacuda",
    "PYTHON_INDEX_TOKEN": "pp11qq22rr33ss44",
}
CONFIG = {"token": "t0k3n-of-the-config", "api_key": "a1b2c3d4e5f6", "service": "nested-passw0rd"}
CODE = frozenset({"code.git", "snapshots", "bytecode"})
LETTERS = "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5"
FORMS = {
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + LETTERS,
    "github fine": "github_pat_" + LETTERS,
    "gitlab": "glpat-" + LETTERS[:20],
    "slack": "xoxb-" + "123456789012-" + LETTERS[:20],
    "google": "AIza" + LETTERS[:35],
    "jwt": "eyJ" + LETTERS + ".eyJ" + LETTERS + "." + LETTERS,
    "key": "-----BEGIN RSA " + "PRIVATE KEY-----\\nMIIEow" + LETTERS + "\\n-----END RSA PRIVATE KEY-----",
    "address": "https://someone:hunter2222@example.org/x",
    "bearer": "Bearer " + LETTERS.swapcase()[3:25],
}
PLACES = {
    "remote": "remotepass99",
    "githubRepository": "ghrepopass88",
    "input": "gho_" + LETTERS[::-1],
}
NEEDLES = {
    **ENVIRONMENT,
    **CONFIG,
    **FORMS,
    **PLACES,
    "key": "MIIEow" + LETTERS,
    "address": "hunter2222",
    "bearer": LETTERS.swapcase()[3:25],
}


@pytest.fixture
def spied(sandbox: Sandbox, monkeypatch) -> Sandbox:
    """A workspace in which a run with all the secrets has failed and a config was refused."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    git(sandbox.repository, "remote", "add", "origin", f"https://me:{PLACES['remote']}@example.org/a.git")
    path = sandbox.folder / f"{PLACES['input']}.tsv"
    path.write_text("data")
    sent = sandbox.folder / "sent"
    values = {
        **{key: CONFIG[key] for key in ("token", "api_key")},
        "service": {"password": CONFIG["service"]},
        "githubRepository": f"https://me:{PLACES['githubRepository']}@github.com/a/b.git",
        "inputs": [str(path)],
        "maxAttempts": 1,
        "notify": [{"command": ["sh", "-c", f"cat >> {sent}"], "on": ["gave_up"]}],
    }
    sandbox.queue("a", "Tells", **values)
    sandbox.drop("b", "Tells", **values, invalid=True)
    assert "b.yaml" in sandbox.ready().refused
    sandbox.work()
    return sandbox


TASKS = TASKS.replace("FORMS_OF_SECRETS", repr(FORMS).replace("\\\\n", "\\n"))


def own_files(root: Path) -> set[Path]:
    """The files that are the config itself."""
    return {
        *root.glob("Output/*/config.yaml"),
        *(path for place in ("ConfigSources", "Failed") for path in (root / place).glob("*.yaml")),
        *root.glob("Output/*/journal/000000.jsonl"),
    }


def text_of(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "replace")
    if path.name == "provenance.json":
        return json.dumps({k: v for k, v in json.loads(text).items() if k != "source"}, ensure_ascii=False)
    return text


@pytest.mark.slow
def test_planted_secrets_stand_in_no_file_but_the_configs_own(spied: Sandbox) -> None:
    assert len(NEEDLES) >= 20
    own = own_files(spied.root)
    found = [
        f"{name} in {path.relative_to(spied.root)}"
        for path in sorted(spied.root.rglob("*"))
        if path.is_file() and path not in own and CODE.isdisjoint(path.parts)
        for name, secret in NEEDLES.items()
        if secret in text_of(path) or secret in str(path)
    ]
    assert found == []
    log = (spied.root / "Output/a/log.log").read_text()
    assert log.count(secrets.MASK) >= len(FORMS), "the traceback is there, with its secrets masked"
    assert "ValueError" in log


@pytest.mark.slow
def test_planted_secrets_stand_in_no_message(spied: Sandbox, eventually) -> None:
    eventually(lambda: (spied.folder / "sent").is_file() and (spied.folder / "sent").stat().st_size > 0)
    sent = (spied.folder / "sent").read_text()
    assert "ValueError" in sent
    assert [name for name, secret in NEEDLES.items() if secret in sent] == []


def test_planted_secrets_are_not_shown(spied: Sandbox) -> None:
    table = results(spied.workspace).table
    shown = [*render.shown(show(spied.workspace, "a")), repr(table.rows)]
    outside = {
        name: secret for name, secret in NEEDLES.items() if name != "input"
    }  # `inputs` is what it names
    assert [name for name, secret in outside.items() if any(secret in line for line in shown)] == []
    assert any(secrets.MASK in line for line in shown)


@pytest.mark.parametrize(
    ("name", "value", "is_one"),
    [
        ("API_KEY", "q7Zr81kkP0x", True),
        ("dbPassword", "pass", True),
        ("client_secret", "abcd", True),
        ("HFTOKEN", "hunter22hunter", True),
        ("key", "gene_symbol", False),
        ("sort_key", "ensembl", False),
        ("monkey", "a1b2c3d4e5", False),
        ("tokenizer", "bert-base-uncased1", False),
        ("max_tokens", "1234567890abc", False),
        ("KEY_FILE", "/srv/keys/key1.pem", False),
        ("lr", "a1b2c3d4e5f6", False),
    ],
)
def test_a_secret_is_recognised_by_its_name_and_its_look(name: str, value: str, is_one: bool) -> None:
    assert secrets.is_secret(name, value) is is_one


def test_ordinary_texts_are_left_as_they_are() -> None:
    texts = [
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/genes.tsv'",
        "KeyError: 'token'",
        "the key: gene_symbol is missing, see https://example.org/docs#basic usage",
        "skipped sk-learn 1.2; task-a1; eyJ.x; commit 409b2fc2f31985cf174d21295720880cee5028cf",
        "Basic usage: hf_model, AKIA, ghp_short",
    ]
    assert [secrets.masked(text) for text in texts] == texts


def test_words_of_a_command_line_are_masked() -> None:
    words = ["submit", "a.yaml", "--set", "train.api_key=q7Zr81kkP0x", "--token", "abcdef123456", "--wait"]
    assert secrets.masked_words(words) == (
        *("submit", "a.yaml", "--set", f"train.api_key={secrets.MASK}", "--token", secrets.MASK, "--wait"),
    )
