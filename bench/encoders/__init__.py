"""Encoder strategies: where method, objective and representation meet."""
