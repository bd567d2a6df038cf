"""Random bytes that come again: a seed and a counter, hashed. For ids and tokens."""

from __future__ import annotations

from hashlib import blake2b


class Draws:
    """A source of random bytes: the same seed gives the same ones."""

    __slots__ = ("_count", "_key")

    def __init__(self, seed: int | str) -> None:
        self._key = blake2b(str(seed).encode()).digest()
        self._count = 0

    def take(self, count: int) -> bytes:
        """Return so many random bytes, at most 64."""
        self._count += 1
        return blake2b(self._count.to_bytes(8), key=self._key, digest_size=count).digest()
