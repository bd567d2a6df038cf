"""The token a conversation speaks with."""

from __future__ import annotations

from krakenws.core.catalog import PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.core.catalog import Entry


class Login:
    """The token, and whether the exchange refused it.

    Attributes:
        number: counts tokens: a refusal of what was asked with an older one says nothing of this one.
        refused: the exchange called the session invalid, and no other token came yet.
    """

    __slots__ = ("_token", "number", "refused")

    def __init__(self) -> None:
        self._token = ""
        self.number = 0
        self.refused = False

    def take(self, token: str) -> None:
        """Go on with this token."""
        self._token = token
        self.number += 1
        self.refused = False

    def of(self, entry: Entry) -> str:
        """Return the token for what needs one, else ""."""
        return self._token if entry.access == PRIVATE else ""

    def refuse(self, number: int) -> bool:
        """Note that what was asked with a token was refused; return whether it is the one in use."""
        is_this = number == self.number
        self.refused = self.refused or is_this
        return is_this
