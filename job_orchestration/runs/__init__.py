"""One run: its events, journal, state, token, claim, files and summary; the catalog of runs; the trash.

Owns the run folders in ``Output/``, the tokens, and ``Misc/opening``, ``Misc/cancel``, ``Misc/summaries`` and
``Misc/trash``. Open `events` first (what a journal can say), then `lifecycle` (what it means), `claims` (who
may write it) and `opening` (how a run begins).
"""
