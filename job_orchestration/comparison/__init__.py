"""Compare runs: what differs between them, and what could explain their results.

Owns nothing on the disk. `difference` has the data and the verdict; `code_changes` reads the files of
commits from the workspace's own store of code.
"""
