"""Turns a configuration into a plan of studies, fits and cells."""
