"""An account's ledger: every change of a balance, and what caused it.

A trade is two entries: what was given, then what was received; its fee stands in the entry of the asset it
was paid in. Trading on margin is one: it moves the fee, and profit or loss when a position closes. What
orders hold is still owned, and no entry.

Source: v2.md 6.2; the v2 page "Balances" for types and categories. The order of a trade's entries is not
documented.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.record import record

ZERO = Decimal(0)

TRADE = ("trade", "trade")
MARGIN = ("margin", "margin-trade")
SETTLED = ("settled", "margin-settle")
"""Type and category of an entry."""


@record
class Posting:
    """One change of a balance.

    Attributes:
        asset: REST key, `XXBT`.
        amount: what was received, below zero what was given; without the fee.
        fee: what was paid besides; below zero is a rebate.
        balance: what is owned now.
    """

    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


@record
class LedgerEntry:
    """A posting with its reason.

    Attributes:
        ledger_id: `L…`.
        ref_id: the trade, or the order, that caused it.
        kind: type and category.
        at_us: microseconds since 1970.
    """

    ledger_id: str
    ref_id: str
    kind: tuple[str, str]
    posting: Posting
    at_us: int
