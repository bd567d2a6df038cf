"""Decimal text as whole numbers of its last digit: exact at any length, and nothing to import for it.

`units("0.125", 4)` is 1250. `decimal` would cost a start-up a millisecond, and its products have 28 digits.
"""

from __future__ import annotations

from functools import lru_cache


def scale_of(*texts: str) -> int:
    """Return how many decimals it takes to write all these numbers; zeros at the end do not count."""
    return max(len(text.partition(".")[2].rstrip("0")) for text in texts)


@lru_cache(maxsize=256)  # ticks and minimums are the same from order to order
def parts(text: str) -> tuple[int, int]:
    """Return a number, not negative, as a whole number and how many of its digits are decimals."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return int(whole + fraction), len(fraction)


def units(text: str, scale: int) -> int:
    """Return a number, not negative and without further decimals, in units of its `scale`-th decimal."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.rstrip("0").ljust(scale, "0"))


def text_of(number: int, scale: int) -> str:
    """Return decimal text of so many units, all decimals written."""
    digits = str(number).rjust(scale + 1, "0")
    return f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits


def trimmed(text: str) -> str:
    """Return decimal text without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
