"""The prices of a language model's tokens, as the option `--usd-per-million-tokens` gives them."""

from __future__ import annotations

from bench.errors import DataError


def prices(text: str) -> tuple[float, float]:
    """Return the price of a million tokens read, and of a million tokens written, from `0.15,0.60`.

    Raises:
        DataError: the text is not two prices.
    """
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(f"--usd-per-million-tokens {text!r}: expected two prices, such as 0.15,0.60") from error
    if not (0 <= read < float("inf") and 0 <= written < float("inf")):
        raise DataError(f"--usd-per-million-tokens {text!r}: a price is a number from 0 up")
    return read, written
