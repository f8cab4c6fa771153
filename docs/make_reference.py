"""Write the references: `docs/config.md` from the table of keys, the end of `docs/tasks.md` from docstrings.

Run ``make docs`` after one of them has changed; ``tests/unit/test_reference.py`` fails until then.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from job_orchestration.config import key_reference, sweep_key_reference, words_without_effect  # noqa: E402 - of this checkout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.config.key_reference import Key

CONFIG = ROOT / "docs" / "config.md"
TASKS = ROOT / "docs" / "tasks.md"
SOURCES = (
    ROOT / "job_orchestration" / "TaskBase.py",
    ROOT / "job_orchestration" / "diagnostics" / "errors.py",
)
BEGIN, END = "<!-- made from the docstrings -->\n", "<!-- end of what is made -->\n"
WIDTH = 120

OPENING = """\
# Config: every key

<!-- made from job_orchestration/config/key_reference.py by docs/make_reference.py -->

A config is one YAML file: one experiment. This page lists every key that means something to
`job_orchestration`; all others are parameters, and the tasks get them. `outputDir` and `tasks` are required,
here or in `workspace.yaml`.

[`workspace.yaml`](#workspaceyaml) holds defaults for all configs, under the same keys. A config's own value
wins, and `null` takes a default back. A default holds for what is readied from then on; a queued run keeps
its values.

- A **time** is a number of seconds, or a text such as `30s`, `5m`, `1.5h`, `2d`.
- A **size** is a whole number of bytes, or a text such as `500M` (10^6), `8G`, `8Gi` (2^30).
- `job-orchestration schema` prints this as JSON Schema, for an editor: [housekeeping.md](housekeeping.md).
- A key that looks as if it did something and does nothing (`needs`, `when`, `maxAttempt`, `memoryLimit` in a
  task's entry) gets a warning from `check` and `ready`. So does a `${…}` in a value; only `notify` and
  `callbackUrl` replace it.
- These words are reserved for later versions: RESERVED.

The keys of the built-in GenePlexus tasks are in [geneplexus.md](geneplexus.md), those of the first release's
search tasks in [sweeps.md](sweeps.md#the-search-tasks-of-the-first-job-orchestration).
""".replace("RESERVED", ", ".join(f"`{word}`" for word in words_without_effect.RESERVED))


# -- keys ---------------------------------------------------------------------------------------------------


def config_page() -> str:
    """Return `docs/config.md`."""
    parts = [OPENING, _contents()]
    for heading, keys in key_reference.SECTIONS.items():
        parts.append(f"## {heading}\n")
        for name, key in keys.items():
            parts.append(_entry(name, key))
            parts += [_inner(*table) for table in INNER.get(name, ())]
    parts.append("## `workspace.yaml`\n")
    parts.append(_filled("All keys above but `sweep`, as defaults. Besides, only there:"))
    parts += [_entry(name, key) for name, key in key_reference.WORKSPACE_ONLY.items()]
    return "\n".join(parts)


INNER: Mapping[str, tuple[tuple[str, Mapping[str, Key]], ...]] = {
    "tasks": (
        (
            "Keys of an entry; all others are the task's own parameters, and override those at the top:",
            key_reference.TASK,
        ),
    ),
    "sweep": (
        (
            "Parts of a sweep, which are multiplied; [sweeps.md](sweeps.md) has more:",
            sweep_key_reference.SWEEP,
        ),
        (
            "A parameter is a key of the config (`layers`) or of one task (`train.lr`). Keys of `random`:",
            sweep_key_reference.RANDOM,
        ),
        ("Keys of `search`:", sweep_key_reference.SEARCH),
        ("Lists for `grid` and `zip`, besides `[1, 2, 3]`:", sweep_key_reference.POINTS),
        ("Distributions for `random` and `space`, besides those lists:", sweep_key_reference.DISTRIBUTIONS),
    ),
    "notify": (
        (
            "An address, or one notifier and `on`; [notifications.md](notifications.md) has more:",
            key_reference.RECIPIENT,
        ),
    ),
}


def _contents() -> str:
    rows = ["| key | values | default |", "|---|---|---|"]
    for key, known in key_reference.TOP.items():
        rows.append(f"| [`{key}`](#{key.lower()}) | {known.kind} | {_default(known)} |")
    return "\n".join([*rows, ""])


def _default(known: Key) -> str:
    default = known.default
    return default.strip("()") if default.startswith("(") or not default else f"`{default}`"


def _entry(name: str, known: Key) -> str:
    default = (
        ""
        if known.default in {key_reference.REQUIRED, key_reference.NONE}
        else f" Default: `{known.default}`."
    )
    required = " Required." if known.default == key_reference.REQUIRED else ""
    readers = "" if known.used_by == key_reference.NONE else f" Used by {known.used_by}."
    kind = f"{known.kind[:1].upper()}{known.kind[1:]}."
    lines = [f"### {name}\n", _filled(_code(known.meaning)), _filled(f"{kind}{required}{default}{readers}")]
    return "\n".join([*lines, f"```yaml\n{known.example}\n```\n"])


def _inner(sentence: str, keys: Mapping[str, Key]) -> str:
    with_default = any(known.default for known in keys.values())
    header = (
        "| key | values | default | meaning |\n|---|---|---|---|"
        if with_default
        else "| form | values | meaning |\n|---|---|---|"
    )
    rows = [header]
    for name, known in keys.items():
        shown = f"`{known.example}`" if not with_default else f"`{name}`"
        cells = [shown, known.kind, *([_default(known)] if with_default else []), _code(known.meaning)]
        rows.append(f"| {' | '.join(cells)} |")
    return f"{_filled(sentence)}\n" + "\n".join(rows) + "\n"


_WORDS = re.compile(
    r"(?<![\w`.])(?:\$?\{\w+\}|\$HOME|Tasks\.py|workspace\.yaml|Output/|Misc/trash|ConfigSources|\.gitignore"
    r"|log\.log|package\.module:Name|taskId\.key|taskId\b|work --resources|spawn(?=:)|fork(?=:)|true(?=:)"
    r"|null\b|queue_empty\b|tpe\b|outputDir\b)"
)


def _code(text: str) -> str:
    """Return a sentence of the table with its names and values marked as code."""
    return _WORDS.sub(lambda match: f"`{match[0]}`", text)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


# -- docstrings ---------------------------------------------------------------------------------------------


def tasks_page(text: str) -> str:
    """Return a page's text with the reference of a task's interface between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    classes = {
        node.name: node
        for source in SOURCES
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    parts = [
        *_class("`TaskBase`", "self", classes["TaskBase"]),
        *_class("`self.context`", "context", classes["Context"]),
        *_class("`self.context.store`", "store", classes["Store"]),
        "### Exceptions\n",
        _filled("`from job_orchestration import PermanentError, PrunedError, TemporaryError`"),
        *(_exception(classes[name]) for name in ("PermanentError", "TemporaryError", "PrunedError")),
    ]
    return f"{before}{BEGIN}\n" + "\n".join(parts) + f"\n{END}{after}"


def _class(heading: str, owner: str, node: ast.ClassDef) -> Iterator[str]:
    yield f"### {heading}\n"
    yield _described(ast.get_docstring(node) or "")
    for name, signature, docstring in members(node):
        shown = f"{owner}.{name}" if name != "__init__" else name
        yield f"**`{shown}{signature}`**\n"
        yield _described(docstring)


def members(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield the members of a class, in their order: name, signature (or type) and docstring."""
    for one, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            docstring = following.value.value if isinstance(following, ast.Expr) else ""
            yield one.target.id, f": {ast.unparse(one.annotation)}", docstring
        elif isinstance(one, ast.FunctionDef):
            returned = ast.unparse(one.returns) if one.returns else "None"
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in one.decorator_list)
            arguments = ast.unparse(one.args).removeprefix("self").removeprefix(", ")
            signature = f": {returned}" if is_property else f"({arguments}) -> {returned}"
            yield one.name, signature, ast.get_docstring(one) or ""


def _exception(node: ast.ClassDef) -> str:
    own = next((one for one in node.body if isinstance(one, ast.FunctionDef)), None)
    arguments = (
        ast.unparse(own.args).removeprefix("self").removeprefix(", ") if own else "message: object = ''"
    )
    return f"**`{node.name}({arguments})`**\n\n" + _described(ast.get_docstring(node) or "")


def _described(docstring: str) -> str:
    """Return a docstring as Markdown; its arguments and errors become a list."""
    found = [_paragraph(block) for block in re.split(r"\n\s*\n", docstring.strip())]
    return "\n".join(found).replace("\n\n- raises", "\n- raises")


def _paragraph(block: str) -> str:
    heading, _, rest = block.partition("\n")
    if heading not in {"Args:", "Raises:", "Returns:"}:
        return _filled(_marked(" ".join(block.split())))
    items = re.split(r"\n(?! )", textwrap.dedent(rest))
    before = "raises " if heading == "Raises:" else ""
    return "".join(_item(before, " ".join(item.split())) for item in items)


def _item(before: str, text: str) -> str:
    name, _, meaning = text.partition(": ")
    return _filled(f"- {before}`{name}`: {_marked(meaning)}").replace("\n", "\n  ").rstrip(" ")


def _marked(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    CONFIG.write_text(config_page())
    TASKS.write_text(tasks_page(TASKS.read_text()))
    for path in (CONFIG, TASKS):
        print(f"{path.relative_to(ROOT)} is up to date")
