"""Decisions: pure functions of values. Time and randomness are arguments, never asked for."""
