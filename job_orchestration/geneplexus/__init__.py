"""GenePlexus as three tasks: `LoadGeneset`, `RunGenePlexus`, `SaveResults`.

A config names them as ``method: job_orchestration.geneplexus:RunGenePlexus``, or a ``Tasks.py``
imports them.

The package uses the public names that every task may use, and the cache of parsed data; it owns nothing on
the disk but the files of its tasks and its entries there. Open `tasks` first, then `settings` and `data`.
Importing the package imports GenePlexus, pandas, scikit-learn and matplotlib (two seconds) on purpose: a
fork server imports once for all its runs. The settings below come first: numerical libraries get one thread
each, because threads do not survive a fork.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # pandas imports Arrow if it can
os.environ.setdefault("MPLBACKEND", "Agg")

# GenePlexus's import makes a folder in the home directory, unless the environment names an existing one.
_homeless = "PYSTOW_HOME" not in os.environ
os.environ.setdefault("PYSTOW_HOME", tempfile.gettempdir())
try:
    import geneplexus as _geneplexus  # noqa: F401  is imported here for its being there, and early
    import matplotlib.figure as _figure  # noqa: F401  the same
except ImportError as _missing:
    raise ImportError(
        "GenePlexus is not installed. Run: pip install 'job-orchestration[geneplexus]'."
    ) from _missing
finally:
    if _homeless:
        del os.environ["PYSTOW_HOME"]

from job_orchestration.geneplexus.tasks import LoadGeneset, RunGenePlexus, SaveResults  # noqa: E402

if TYPE_CHECKING:
    from job_orchestration.geneplexus.saved_results import SavedResults, load

__all__ = ["LoadGeneset", "RunGenePlexus", "SaveResults", "SavedResults", "load"]

_OF_PROGRAMS = frozenset({"SavedResults", "load"})


def __getattr__(name: str) -> Any:
    """`load` is imported when it is first asked for: no task needs it."""
    if name in _OF_PROGRAMS:
        from job_orchestration.geneplexus import saved_results

        return getattr(saved_results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
