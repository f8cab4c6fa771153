"""One module per command, named after it: the function behind the command line and the Python API.

A command calls the packages below and returns a value; it parses no arguments, prints nothing and owns no
file format. `selection` finds the runs that a command is applied to; `live_view` is what `up` and
`status --watch` redraw. Open `status` first for a command that reads, `cancel` for one that changes runs.
"""
