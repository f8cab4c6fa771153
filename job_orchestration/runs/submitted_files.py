"""Where the files that were submitted with a run lie today.

Its config names them by their absolute paths, as they were when the run was queued. A run that was imported,
or whose workspace was moved, has them in its own folder all the same: what lies at the old place now may be
another file, or none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

FOLDER: Final = "inputs"
"""The folder of submitted files in that of their run."""
STAGING: Final = "submitted"
"""The folder in ``Misc`` of what is about to be queued; each entry is named by the process that made it."""
_OUTPUT: Final = "Output"


def located(values: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the values of a config, in which the files that were submitted with it are named where they lie.

    Args:
        values: the config as it was queued.
        folder: the folder of the run.
    """
    own = os.path.join(folder, FOLDER)
    found = dict(values)
    for key, name in _names(values).items():
        path = os.path.join(own, name)
        if path != values[key] and os.path.isfile(path):
            found[key] = path
    return found


def are_there(values: Mapping[str, Any]) -> bool:
    """Return whether files were submitted with the run of a config."""
    return bool(_names(values))


def renamed(values: Mapping[str, Any], run: str, names: Container[str]) -> dict[str, Any]:
    """Return the values of the config of a run that gets another name.

    Args:
        values: the config under the name so far.
        run: the new name.
        names: the names of the files that were submitted with the run.
    """
    known = {key: name for key, name in _names(values).items() if name in names}
    paths = {key: os.path.join(os.sep, _OUTPUT, run, FOLDER, name) for key, name in known.items()}
    return {**values, **paths, "outputDir": run}


def _names(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that name a file in a folder of submitted files of this run, and the file's name."""
    queued = os.path.join(os.sep, _OUTPUT, str(values.get("outputDir")), FOLDER)
    found = {}
    for key, value in values.items():
        if isinstance(value, str) and queued in value:
            folder, name = os.path.split(value)
            if folder.endswith(queued):
                found[key] = name
    return found
