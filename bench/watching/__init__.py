"""Watching a run: a live page of its folder, and the same as JSON. Only reads."""
