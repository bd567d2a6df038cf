"""What the exchange admits in each of its modes, and Kraken's words for what it does not.

    online        everything
    limit_only    limit orders, amend, cancel; matching; what waited may still trigger
    post_only     post-only limit orders, cancel, amendments in the book that do not take
    cancel_only   cancel
    maintenance   nothing

Expiry goes on in all of them.

Source: docs.kraken.com, v1 "System Status" (v1.md 5.3, 8.2).
"""

from __future__ import annotations

from krakenws.exchange.orders import LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.orders import NewOrder

ONLINE, LIMIT_ONLY, POST_ONLY = "online", "limit_only", "post_only"
CANCEL_ONLY, MAINTENANCE = "cancel_only", "maintenance"
MODES = frozenset({ONLINE, LIMIT_ONLY, POST_ONLY, CANCEL_ONLY, MAINTENANCE})


def closed_by(mode: str) -> str:
    """Return Kraken's words for what a mode does not admit."""
    return "EService:Unavailable" if mode == MAINTENANCE else f"EService:Market in {mode} mode"


def admits(mode: str, new: NewOrder) -> bool:
    """Whether a new order is taken in."""
    if mode == ONLINE:
        return True
    return new.order_type == LIMIT and (mode == LIMIT_ONLY or (mode == POST_ONLY and new.post_only))


def admits_amending(mode: str, *, waiting: bool) -> bool:
    """Whether an order may be amended, as long as it does not take in `POST_ONLY`."""
    return mode in {ONLINE, LIMIT_ONLY} or (mode == POST_ONLY and not waiting)
