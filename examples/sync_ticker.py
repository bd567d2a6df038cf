"""Prints prices as they change, and says when they may have gaps: a script without asyncio.

python examples/sync_ticker.py [--sandbox[=URL]] [--count N] [PAIR…]
"""

from __future__ import annotations

import argparse
import sys

import krakenws


def main(options: argparse.Namespace) -> None:
    """Print so many prices."""
    left = options.count
    with krakenws.sync.connect(sandbox=options.sandbox) as kraken:
        print(f"round trip {(kraken.ping().round_trip_s or 0) * 1000:.1f} ms")
        for event in kraken.stream("ticker", *options.pairs):
            if isinstance(event, krakenws.Update):
                for row in event.rows():
                    print(f"{event.symbol:9} last {row.last:>14}  bid {row.bid:>14}  ask {row.ask:>14}")
                left -= 1
                if left <= 0:
                    return
            elif isinstance(event, krakenws.Gap | krakenws.Disconnected):
                print(f"prices may be missing: {event.cause}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", default=["XBT/USD", "ETH/EUR"])
    parser.add_argument("--sandbox", nargs="?", const=True, default=False)
    parser.add_argument("--count", type=int, default=10)
    try:
        main(parser.parse_args())
    except krakenws.KrakenWSError as error:
        sys.exit(f"sync_ticker: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
