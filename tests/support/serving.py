"""A venue served on loopback within a test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from krakenws.net.server import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from krakenws.exchange.protocol import Venue


@contextlib.asynccontextmanager
async def serving(venue: Venue, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Server, str]]:
    """Give the server and the URL of its public endpoint."""
    server = Server(venue)
    async with server.listen("127.0.0.1", 0, tls) as (host, port):
        driving = asyncio.create_task(server.drive())
        try:
            yield server, f"{'wss' if tls else 'ws'}://{host}:{port}"
        finally:
            driving.cancel()
