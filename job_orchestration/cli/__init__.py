"""The command line: parses arguments, calls a command, prints its result as text or JSON.

Owns no file. Open `command_table` first: it lists every command with the function that runs it.
"""
