"""Tuning: one study for each strategy, dataset, model and budget, with the same number of trials for every strategy.

`study` runs the trials, `sampling` chooses what to try next (Optuna), `space` holds the dimensions, and `objective`
fits and scores one trial. `bench.planning.study_spec` defines a study, and `bench.store.studies` its records.
"""
