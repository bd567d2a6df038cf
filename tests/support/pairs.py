"""A list of pairs in the cache, as an earlier run would have left it: no order has to ask for one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from krakenws.core.pair import PairRow
from krakenws.exchange.instruments import INSTRUMENTS
from krakenws.net.pairs import keep
from krakenws.options import Options

if TYPE_CHECKING:
    from pathlib import Path

ROWS = tuple(
    PairRow(
        one.wsname,
        one.altname,
        one.rest_key,
        one.symbol,
        one.pair_decimals,
        one.lot_decimals,
        f"{one.tick_size:f}",
        f"{one.ordermin:f}",
        f"{one.costmin:f}",
        one.status,
        max(one.leverage_buy, default=0),
        max(one.leverage_sell, default=0),
    )
    for one in sorted(INSTRUMENTS, key=lambda one: one.wsname)
)


def store_pairs(cache: Path, *, url: str = "", age_s: float = 0.0, rows: tuple[PairRow, ...] = ROWS) -> None:
    """Put the sandbox's pairs into a cache directory, as the list of Kraken or of another REST endpoint."""
    said = keep(Options(rest_url=url or Options().rest_url), rows, time.time() - age_s, str(cache))
    assert not said, said
