"""The first release's interface for parameter searches; each trial is an ordinary run.

Owns nothing on the disk. Open `tasks` first, then `base`, the interface of a search method; `grid` has the
two methods of the first release, `space` translates its ``params``.
"""
