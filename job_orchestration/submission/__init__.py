"""From a dropped file in ConfigSources to a queued run.

It reads dropped files, checks them in a list of steps, and opens their runs through `runs.opening`; it owns
ConfigSources and the problems files there. Open `pipeline` first (one pass), then `checker` (the steps).
"""
