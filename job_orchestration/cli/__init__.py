"""The command line: one table of actions, its parsing, and what is printed."""
