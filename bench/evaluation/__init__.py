"""Measures, strata, forgetting, drift, cost and FLOPs: from rankings, embeddings and callables to figures."""
