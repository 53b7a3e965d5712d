"""Datasets: reading, catalogue, downloads, import, splits, cleaning and inspection."""
