"""The function of `selftest`: it returns what it was called with."""

from __future__ import annotations

from typing import Any


def task(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments."""
    return {"args": list(args), "kwargs": kwargs}
