"""Readers answer from the stored rankings of a finished run. Nothing is fitted or searched here."""
