"""What an account may open on margin, beside having the collateral for it.

An order that closes may always do so; what it would open beyond that is looked at when it is placed. Open
orders do not count yet, their fills will. Kraken publishes neither the allowance of a tier nor how many
positions it may have; those of `ratecounter.Tier` and the largest position are ours, and so is what tells
`Cannot open opposing position` from `Cannot open position`: Kraken explains both with the same words.

Source: the guide "Spot Error Messages" of docs.kraken.com (v1.md 8.2).
"""

from __future__ import annotations

from krakenws.exchange.orders import BUY, SETTLE_POSITION, ZERO
from krakenws.exchange.requests import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from krakenws.exchange.accounts import Account
    from krakenws.exchange.checks import Terms

POSITION_USD = 1_000_000
"""What the position on one pair may have cost."""

CANNOT_OPEN = "EOrder:Cannot open position"
CANNOT_OPEN_OPPOSING = "EOrder:Cannot open opposing position"
POSITIONS_LIMIT = "EOrder:Positions limit exceeded"
POSITION_SIZE = "EOrder:Margin position size exceeded"
ALLOWANCE = "EOrder:Margin allowance exceeded"


def check_margin(
    account: Account, pair: str, terms: Terms, price: Decimal, usd_rate: Callable[[str], Decimal]
) -> None:
    """Pass if an account may open what an order would open.

    Args:
        account: whose order it is.
        pair: its wsname.
        terms: what it asks for.
        price: what it is expected to fill at.
        usd_rate: US dollars for one of the quote currency of a pair (wsname).

    Raises:
        Refusal: in Kraken's words.
    """
    if not terms.leverage or terms.reduce_only or terms.order_type == SETTLE_POSITION:
        return
    position = account.position(pair)
    flips = position < 0 if terms.side == BUY else position > 0
    opens = terms.qty - abs(position) if flips else terms.qty
    if opens <= 0:
        return
    if not account.tier.margin_usd:
        raise Refusal(CANNOT_OPEN_OPPOSING if flips else CANNOT_OPEN)
    stay = {other: opened for other, opened in account.positions.items() if not (flips and other == pair)}
    if sum(map(len, stay.values())) >= account.tier.positions:
        raise Refusal(POSITIONS_LIMIT)
    cost_usd = {
        other: sum((p.cost for p in opened), ZERO) * usd_rate(other) for other, opened in stay.items()
    }
    cost_usd[pair] = cost_usd.get(pair, ZERO) + opens * price * usd_rate(pair)
    if cost_usd[pair] > POSITION_USD:
        raise Refusal(POSITION_SIZE)
    if sum(cost_usd.values()) > account.tier.margin_usd:
        raise Refusal(ALLOWANCE)
