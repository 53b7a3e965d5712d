"""Significance, variance, resampling and power. Nothing here knows what a strategy is."""
