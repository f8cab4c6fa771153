"""A folder of wheels made without a network: small packages, and what is installed here, packed again."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_wheel(folder: Path, name: str, version: str, source: str) -> Path:
    """Make the wheel of a package of one module."""
    about = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": source.encode(),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    return _write(folder / f"{name}-{version}-py3-none-any.whl", about, contents)


def pack_installed(folder: Path, name: str) -> str:
    """Make a wheel of a package that is installed here; return its version."""
    found = metadata.distribution(name)
    about = next(str(f.parent) for f in found.files or () if f.name == "METADATA")
    tags = [
        line.split(": ")[1] for line in (found.read_text("WHEEL") or "").splitlines() if line[:4] == "Tag:"
    ]
    contents = {
        str(file): found.locate_file(file).read_bytes()  # type: ignore[union-attr]  # a path
        for file in found.files or ()
        if not str(file).startswith("..") and file.suffix != ".pyc"
        if file.name not in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    }
    stem = about.removesuffix(".dist-info")
    _write(folder / f"{stem}-{tags[0]}.whl", about, contents)
    return found.version


def _write(path: Path, about: str, contents: dict[str, bytes]) -> Path:
    record = []
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}\n")
            archive.writestr(name, data)
        archive.writestr(f"{about}/RECORD", "".join([*record, f"{about}/RECORD,,\n"]))
    return path
