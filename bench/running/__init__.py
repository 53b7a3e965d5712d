"""Runs a plan: `run` is the way in, `scheduler` orders the jobs, `executors` place them, `job` does one of them."""
