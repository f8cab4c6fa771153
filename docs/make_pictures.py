"""Write the picture in ``docs/architecture.md`` from the import contracts in ``pyproject.toml``.

Run ``make docs`` after a contract has changed; ``tests/unit/test_architecture.py`` fails until then.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- made from the import contracts -->\n", "<!-- end of what is made -->\n"


def layers() -> list[list[str]]:
    """Return the layers of the contract, top first; planned packages, in brackets there, are left out."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["type"] == "layers"]
    rows = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [kept for row in rows if (kept := [name for name in row if not name.startswith("(")])]


def picture() -> str:
    """Return the layers as a Mermaid flowchart: a box a layer, an arrow from each layer to the one below."""
    lines = ["```mermaid", "flowchart TB"]
    rows = layers()
    for number, row in enumerate(rows):
        nodes = " ~~~ ".join(f"{name.strip('_')}[{name}]" for name in row)
        lines += [f'    subgraph layer{number}[" "]', "        direction LR", f"        {nodes}", "    end"]
    lines += [f"    layer{number} --> layer{number + 1}" for number in range(len(rows) - 1)]
    return "\n".join([*lines, "```", ""])


def page_with_picture(text: str) -> str:
    """Return a page's text with the picture between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{picture()}{END}{after}"


if __name__ == "__main__":
    ARCHITECTURE.write_text(page_with_picture(ARCHITECTURE.read_text()))
    print(f"{ARCHITECTURE.relative_to(ROOT)} is up to date")
