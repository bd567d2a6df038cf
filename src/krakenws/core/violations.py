"""Frames that are not what the exchange promises, told so that they can be found again and harm nobody."""

from __future__ import annotations

from krakenws.core.events import Violation

_SHOWN_BYTES = 120
_DIGITS = 16


class Violations:
    """Makes the `Violation` events of one conversation.

    Attributes:
        count: how many there were.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def of(
        self, cause: str, frame: bytes, received_ns: int, channel: str = "", symbol: str = ""
    ) -> Violation:
        """Count a frame and return what to say of it: its beginning, escaped, its length and its hash."""
        from hashlib import sha256  # seldom needed, and start-up is dear

        self.count += 1
        shown = plain(frame[:_SHOWN_BYTES].decode("utf-8", "backslashreplace"))
        digest = sha256(frame).hexdigest()[:_DIGITS]
        return Violation(received_ns, cause, shown, len(frame), digest, self.count, channel, symbol)


def plain(text: str) -> str:
    """Return text without control characters: escaped, they do nothing to a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
