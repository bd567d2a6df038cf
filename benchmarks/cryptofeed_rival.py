"""cryptofeed's Kraken feed as a client: its connection, its parser, its book, its checksum; a line an update.

    python benchmarks/cryptofeed_rival.py cryptofeed URL SUBSCRIBE_FRAME CAFILE

It runs in an environment of its own. Two things are ours: the address, with its connection's demand for wss
left out, and the loop, which is that of its `ConnectionHandler` without the reconnecting. It subscribes by
itself; the depth is taken from the frame. Like its `FeedHandler` it uses uvloop.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def feed(url: str, depth: int) -> Any:
    """Return cryptofeed's feed of one book, with checksum validation."""
    connection: Any = import_module("cryptofeed.connection")
    kraken: Any = import_module("cryptofeed.exchanges").Kraken
    symbols: Any = import_module("cryptofeed.symbols").Symbols

    def connect_anywhere(self: Any, address: str, conn_id: str, **options: Any) -> None:
        """Do what it does, less the check that the address begins with wss."""
        self.address = address
        connection.AsyncConnection.__init__(
            self,
            f"{conn_id}.ws.{self.conn_count}",
            authentication=options.pop("authentication"),
            subscription=options.pop("subscription"),
        )
        self.ws_kwargs = options

    async def show(book: Any, _received: float) -> None:
        print(book.symbol, book.checksum)

    connection.WSAsyncConn.__init__ = connect_anywhere
    symbols.set(
        "KRAKEN", {"BTC-USD": "XBT/USD"}, {"instrument_type": {"BTC-USD": "spot"}}
    )  # else it asks Kraken
    kraken.websocket_endpoints = [connection.WebsocketEndpoint(url)]
    return kraken(
        symbols=["BTC-USD"],
        channels=["l2_book"],
        callbacks={"l2_book": show},
        max_depth=depth,
        checksum_validation=True,
        config={"log": {"filename": os.devnull, "level": "WARNING"}},
    )


async def receive(url: str, depth: int) -> None:
    """Receive until the close frame."""
    ((connection, subscribe, handler, _),) = feed(url, depth).connect()
    async with connection.connect() as opened:
        await subscribe(opened)
        async for message in opened.read():
            await handler(message, opened, connection.last_message)


def main() -> None:
    _, url, frame, cafile = sys.argv[1:]
    if cafile:
        os.environ["SSL_CERT_FILE"] = cafile
    import_module("uvloop").install()
    asyncio.run(receive(url, json.loads(frame)["subscription"]["depth"]))


if __name__ == "__main__":
    main()
