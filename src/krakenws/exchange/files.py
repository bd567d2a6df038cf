"""What the exchange keeps of one account's trading, and for how long.

Orders that live are bounded by the account's tier. Of what is over the last `ENDED_KEPT` orders and as many
fills are kept: Kraken forgets neither, but shows fifty at a time.
"""

from __future__ import annotations

from collections import deque

from krakenws.exchange.checks import is_userref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.accounts import Account
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.records import FillRecord, OrderRecord

ENDED_KEPT = 5_000
"""Ended orders, and fills, that an account remembers: about two kilobytes each."""


class File:
    """One account's trading.

    Attributes:
        account: its money.
        live: its orders that have not ended, oldest first.
        ended: its last ones that have, oldest first.
        fills: its last ones, oldest first.
        subscriptions: who listens, by channel.
        switch_us: when the dead man's switch cancels everything; None when it is off.
    """

    __slots__ = ("account", "ended", "fills", "live", "subscriptions", "switch_us")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.live: dict[str, OrderRecord] = {}
        self.ended: deque[OrderRecord] = deque(maxlen=ENDED_KEPT)
        self.fills: deque[FillRecord] = deque(maxlen=ENDED_KEPT)
        self.subscriptions: dict[str, list[Subscription]] = {
            "openOrders": [],
            "ownTrades": [],
            "balances": [],
        }
        self.switch_us: int | None = None

    def named(self, name: str) -> list[OrderRecord]:
        """Return the live orders of an id or a userref; v1 calls both txid (v1.md 9.4)."""
        record = self.live.get(name)
        if record is not None:
            return [record]
        if not is_userref(name) or not int(name):
            return []
        return [record for record in self.live.values() if record.terms.userref == int(name)]

    def by_client_id(self, cl_ord_id: str) -> list[OrderRecord]:
        """Return the live order of a client's own id, in a list, or an empty one."""
        return [record for record in self.live.values() if record.terms.cl_ord_id == cl_ord_id]
