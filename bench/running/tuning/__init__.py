"""Tuning: one study for a strategy, dataset, model and budget; the same number of trials for everyone.

`spec` says what a study is, `space` its dimensions, `sampling` what to try next (Optuna), `objective` makes one trial,
`conduct` one after the other, `process` that of a fit in a process of its own; `records` is what is left on disk.
"""
