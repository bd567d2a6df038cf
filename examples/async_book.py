"""Follows the verified books of some pairs at once, and checks an order when a spread is narrow.

    python examples/async_book.py [--sandbox[=URL]] [--changes N] [PAIR…]

Without --sandbox it reads Kraken's public data and orders nothing. The order is sent with validate=True: the
exchange checks it and places nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from decimal import Decimal

import krakenws


async def follow(kraken: krakenws.Client, pair: str, changes: int) -> Decimal | None:
    """Print the best prices of a pair as they change; return its narrowest spread."""
    narrowest: Decimal | None = None
    async with kraken.book(pair, depth=25) as book:
        before = None
        async for _ in book:  # only ever with verified prices
            bid, ask = book.best_bid, book.best_ask
            if bid is None or ask is None or (bid.price, ask.price) == before:
                continue
            before = bid.price, ask.price
            spread = Decimal(ask.price) - Decimal(bid.price)
            narrowest = spread if narrowest is None else min(narrowest, spread)
            print(f"{pair:9} {bid.price:>14} x {bid.qty:<14} {ask.price:>14} x {ask.qty:<14} {spread}")
            changes -= 1
            if changes <= 0:
                break
    return narrowest


async def check_order(kraken: krakenws.Client, pair: str) -> None:
    """Let the exchange check an order far below the market."""
    async with kraken.book(pair) as book:
        half = Decimal(book.best_bid.price) / 2 if book.best_bid else Decimal(1)
    price = half.quantize(Decimal("0.1"))
    try:
        verdict = await kraken.add_order(
            pair, type="buy", ordertype="limit", volume="0.01", price=price, validate=True
        )
        print("checked:", verdict.descr)
    except krakenws.OrderRejected as refused:
        print("refused:", refused.code)
    except krakenws.OutcomeUnknown as unknown:
        print("look at open orders before you do anything else:", unknown)


async def main(options: argparse.Namespace) -> None:
    """Follow all pairs over one connection."""
    async with krakenws.connect(sandbox=options.sandbox) as kraken:
        spreads = await asyncio.gather(*(follow(kraken, pair, options.changes) for pair in options.pairs))
        for pair, spread in zip(options.pairs, spreads, strict=True):
            print(f"{pair} narrowest spread {spread}")
        if options.sandbox:
            await check_order(kraken, options.pairs[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", default=["XBT/USD", "ETH/EUR"])
    parser.add_argument("--sandbox", nargs="?", const=True, default=False)
    parser.add_argument("--changes", type=int, default=20)
    try:
        asyncio.run(main(parser.parse_args()))
    except krakenws.KrakenWSError as error:
        sys.exit(f"async_book: {error}")
