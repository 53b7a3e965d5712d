"""Optimising an encoder under a budget: batches, the one contrastive loop, selection on a development pool."""
