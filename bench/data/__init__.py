"""Datasets: what they are, where they come from, how they are split, and what is wrong with them."""
