"""Sweeps and searches: one config, many trials, each of them an ordinary run.

Owns ``Misc/searches``, one folder per search. Open `sweep_expansion` first (the trials of a ``sweep`` block),
then `searches` (a search on the disk) and `driver` (how workers open its next trials). `parameter_space` has
the forms of a parameter; `samplers` and `optuna_sampler` propose values.
"""
