"""One tradable pair and its rules, as REST `AssetPairs` describes it."""

from __future__ import annotations

from krakenws.record import record


@record
class PairRow:
    """One pair. What Kraken did not send is None: some fields were added over the years.

    Attributes:
        wsname: its name on API v1, `XBT/USD`.
        altname: its name in order descriptions, `XBTUSD`.
        rest_key: its name in REST answers, `XXBTZUSD`.
        symbol: its name on API v2, `BTC/USD`.
        pair_decimals: decimals a price in an order may have; v1 feeds show others (quirk B6).
        lot_decimals: decimals a volume in an order may have.
        tick_size: price step, decimal text; may be coarser than `pair_decimals`.
        ordermin: least volume, decimal text, in the base currency.
        costmin: least price times volume, decimal text, in the quote currency.
        status: `online`, `cancel_only`, `post_only`, `limit_only`, `reduce_only` or newer.
        leverage_buy: highest leverage of a buy; 0 for none.
        leverage_sell: highest leverage of a sell; 0 for none.
    """

    wsname: str
    altname: str
    rest_key: str
    symbol: str
    pair_decimals: int | None
    lot_decimals: int | None
    tick_size: str | None
    ordermin: str | None
    costmin: str | None
    status: str | None
    leverage_buy: int
    leverage_sell: int
