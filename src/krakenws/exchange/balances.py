"""balances on API v2: payloads for `Subscription.publish`, which numbers them.

    snapshot(owned)    all assets, with their wallets: here there is but one, spot
    update(entry)      one entry of the ledger

Amounts are JSON numbers. They have the decimals of their asset, and more where the sandbox's money has them
(a cost in dollars has five, the ledger four): so entries add up to balances, and agree with costs and fees on
other feeds, to the last digit.

Source: v2.md 2.1 and 6.2; captured frames of 2024, whose order of keys is kept.
"""

from __future__ import annotations

from msgspec import Raw
from msgspec.json import encode

from krakenws.exchange.instruments import ASSETS
from krakenws.exchange.records import utc_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from krakenws.exchange.ledger import LedgerEntry

_CLASS = "currency"
_WALLET = ("spot", "main")
_ASSETS = {asset.key: asset for asset in ASSETS}


def snapshot(owned: Mapping[str, Decimal]) -> bytes:
    """Return all balances, in the order of the assets' names.

    Args:
        owned: by REST key.
    """
    type_, id_ = _WALLET
    entries = []
    for key, amount in sorted(owned.items(), key=lambda item: _ASSETS[item[0]].symbol):
        balance = _number(amount, key)
        wallets = [{"type": type_, "id": id_, "balance": balance}]
        entries.append(
            {"asset": _ASSETS[key].symbol, "asset_class": _CLASS, "balance": balance, "wallets": wallets}
        )
    return encode(entries)


def update(entry: LedgerEntry) -> bytes:
    """Return one entry of the ledger."""
    posting = entry.posting
    type_, category = entry.kind
    wallet_type, wallet_id = _WALLET
    told = {
        "ledger_id": entry.ledger_id,
        "ref_id": entry.ref_id,
        "timestamp": utc_text(entry.at_us),
        "type": type_,
        "asset": _ASSETS[posting.asset].symbol,
        "asset_class": _CLASS,
        "category": category,
        "wallet_type": wallet_type,
        "wallet_id": wallet_id,
        "amount": _number(posting.amount, posting.asset),
        "fee": _number(posting.fee, posting.asset),
        "balance": _number(posting.balance, posting.asset),
    }
    return encode([told])


def _number(amount: Decimal, asset: str) -> Raw:
    """Return a JSON number without an exponent, of as many decimals as it has, the asset's at least."""
    exponent = (amount + 0).normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # noqa: S101 - money is finite
    return Raw(f"{amount + 0:.{max(_ASSETS[asset].decimals, -exponent)}f}".encode())
