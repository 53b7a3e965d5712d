"""Exports fitted strategies as plain sentence-transformers models: merged, checked, described, packed for hosting."""
