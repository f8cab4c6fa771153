"""Secrets that programs print in another form, and arguments of programs that embed the product."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_orchestration.code import provenance
from job_orchestration.notifications import targets
from job_orchestration.workspace.layout import VARIABLE
from tests.integration.harness import LIMIT

SECRET = "Zx9/q+ü&rk \"w'7?>~~"
PROGRAM = r"""
import base64, html, json, os, sys
from urllib.parse import quote, quote_plus
s = os.environ["TOKEN"]
forms = {
    "plain": s,
    "url": quote(s, safe=""),
    "lower": quote(s, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "form": quote_plus(s),
    "basic": base64.b64encode(f"someone:{s}".encode()).decode(),
    "urlsafe": base64.urlsafe_b64encode(s.encode()).decode(),
    "hex": s.encode().hex(),
    "json": json.dumps(s),
    "html": html.escape(s),
}
print(f"refused: {forms[sys.argv[1]]}")
sys.exit(1)
"""
FORMS = ("plain", "url", "lower", "form", "basic", "urlsafe", "hex", "json", "html")


def encoded(secret: str) -> list[str]:
    data = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")),
        quote_plus(secret),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
        data.hex(),
        json.dumps(secret)[1:-1],
        html.escape(secret),
    ]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=6, max_size=30))
def test_a_secret_is_masked_in_each_usual_encoding(secret):
    for form in encoded(secret):
        said = targets.redacted(f"<{form}>", frozenset({secret}))
        assert "****" in said
        assert form not in said


@given(
    st.text(min_size=0, max_size=9), st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=30)
)
def test_a_secret_is_masked_inside_the_base64_of_a_longer_text(before, secret):
    text = base64.b64encode(before.encode("utf-8", "replace") + b":" + secret.encode()).decode()
    said = targets.redacted(text, frozenset({secret}))
    assert "****" in said
    decoded = base64.b64decode(said.replace("****", "") + "===")
    assert secret[3:-3].encode() not in decoded


@pytest.mark.slow
def test_no_form_of_a_secret_stands_in_the_outbox_or_in_what_is_printed(workspace, cli):
    program = workspace.parent / "refuses.py"
    program.write_text(PROGRAM)
    entries = [{"command": [sys.executable, str(program), form, "${TOKEN}"]} for form in FORMS]
    (workspace / "workspace.yaml").write_text(json.dumps({"notify": entries}))
    done = cli("notify", "--test", check=None, env={"TOKEN": SECRET})
    files = [path for path in (workspace / "Misc").rglob("*") if path.is_file()]
    texts = [done.stdout, done.stderr, *(path.read_text(errors="replace") for path in files)]
    assert done.stdout.count("refused") + done.stderr.count("refused") == len(FORMS)
    for text in texts:
        for form in (*encoded(SECRET), base64.b64encode(f"someone:{SECRET}".encode()).decode()):
            assert form not in text
            assert form[: len(form) // 2] not in text, "half of it"


def test_a_secret_is_not_cut_in_half_before_it_is_masked(workspace, cli):
    code = "import os, sys; print('x' * 290 + os.environ['TOKEN']); sys.exit(1)"
    entry = {"command": [sys.executable, "-c", code, "${TOKEN}"]}
    (workspace / "workspace.yaml").write_text(json.dumps({"notify": [entry]}))
    done = cli("notify", "--test", check=None, env={"TOKEN": "half-of-it-is-enough"})
    assert "xxx" in done.stdout + done.stderr
    assert "half" not in done.stdout + done.stderr


# -- provenance ----------------------------------------------------------------------------------------------


def test_provenance_names_a_program_that_embeds_the_product_and_none_of_its_arguments(
    workspace, drop, tmp_path
):
    drop("a")
    program = tmp_path / "portal.py"
    program.write_text(
        "import sys\n"
        "from job_orchestration.cli.main import main\n"
        f"sys.exit(main(['ready', '--workspace', {str(workspace)!r}]))\n"
    )
    subprocess.run(
        [sys.executable, str(program), "--password", "opensesame"],
        env={**os.environ, VARIABLE: str(workspace)},
        check=True,
        timeout=LIMIT,
        capture_output=True,
    )
    text = (workspace / "Output/runs/a/provenance.json").read_text()
    assert json.loads(text)["argv"] == ["portal.py"]
    assert "opensesame" not in text


def test_provenance_keeps_the_whole_command_of_our_own_program(workspace, drop, cli):
    drop("a")
    cli("ready")
    argv = json.loads((workspace / "Output/runs/a/provenance.json").read_text())["argv"]
    assert argv[1:] == ["ready"]
    assert provenance.command_line(["/usr/bin/jo", "ready", "--json"])[1:] == ("ready", "--json")
    assert provenance.command_line(["/srv/__main__.py", "secret"]) == ("__main__.py",)
    assert provenance.command_line([]) == ("",)
