"""How the data of API v2 becomes rows.

v2 sends numbers, and a number that went through a double has lost digits: `Raw` keeps the wire's text.

Source: v2.md section 6.2.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from krakenws.core.dialect import Malformed
from krakenws.core.rows import Balance, Wallet
from krakenws.core.v1_rows import book_rows

if TYPE_CHECKING:
    from krakenws.core.events import Update
    from krakenws.core.rows import Reader


class WalletPayload(Struct):
    """One of `wallets` in a snapshot of balances."""

    type: str
    id: str
    balance: Raw


class BalancePayload(Struct):
    """An asset of a snapshot, or a ledger entry of an update."""

    asset: str
    balance: Raw
    asset_class: str | None = None
    wallets: list[WalletPayload] | None = None
    amount: Raw = Raw()
    fee: Raw = Raw()
    ledger_id: str | None = None
    ref_id: str | None = None
    timestamp: str | None = None
    type: str | None = None
    subtype: str | None = None
    category: str | None = None
    wallet_type: str | None = None
    wallet_id: str | None = None
    user: str | None = None


class _BalanceFrame(Struct):
    data: list[BalancePayload]


_decode_balances = Decoder(_BalanceFrame).decode


def _balances(update: Update) -> list[Balance]:
    try:
        entries = _decode_balances(update.frame).data
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not the shape of balances: {error}") from None
    return [
        Balance(
            asset=entry.asset,
            balance=number(entry.balance),
            asset_class=entry.asset_class or None,
            wallets=_wallets(entry.wallets),
            amount=_optional(entry.amount),
            fee=_optional(entry.fee),
            ledger_id=entry.ledger_id or None,
            ref_id=entry.ref_id or None,
            timestamp=entry.timestamp or None,
            type=entry.type or None,
            subtype=entry.subtype or None,
            category=entry.category or None,
            wallet_type=entry.wallet_type or None,
            wallet_id=entry.wallet_id or None,
            user=entry.user or None,
        )
        for entry in entries
    ]


def _wallets(wallets: list[WalletPayload] | None) -> list[Wallet] | None:
    if wallets is None:
        return None
    return [Wallet(wallet.type, wallet.id, number(wallet.balance)) for wallet in wallets]


def _optional(raw: Raw) -> str | None:
    return None if bytes(raw) in {b"", b"null"} else number(raw)


def number(raw: Raw) -> str:
    """Return the decimal text of a JSON number: the wire's digits, an exponent written out.

    Raises:
        Malformed: it is no number, or has an exponent beyond any amount of money.
    """
    text = bytes(raw).decode("ascii", "replace")
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Malformed("an amount that is no number") from None
    if not value.is_finite() or abs(value.adjusted()) > 40:
        raise Malformed("an amount beyond any amount of money")
    return format(value, "f")


READERS: dict[str, Reader] = {"Level": book_rows, "Balance": _balances}
"""What reads each kind of rows."""
