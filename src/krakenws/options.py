"""One frozen `Options`: endpoints, deadlines, budgets. It travels whole; tests shrink its deadlines."""

from __future__ import annotations

from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@record
class Options:
    """How a run behaves. Seconds are floats, limits are counts or bytes, as the names say."""

    public_url: str = "wss://ws.kraken.com"
    """API v1 without a token; v2 is at the same place under /v2. Source: docs.kraken.com, v1 guide."""
    private_url: str = "wss://ws-auth.kraken.com"
    """API v1 with a token; v2 is at the same place under /v2."""
    rest_url: str = "https://api.kraken.com"
    """Where tokens and the list of pairs come from."""
    cafile: str | None = None
    """One more certificate authority to trust, a PEM file."""
    connect_timeout_s: float = 10.0
    """From the first attempt to a socket until the greeting (`systemStatus`) is there. Finding the token and
    resolving the name may each take as long before."""
    ack_timeout_s: float = 5.0
    """How long an answer may take; after it the outcome of a trading request is unknown."""
    look_ups_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """When to look for an order whose answer is lost, in seconds since then; REST may lag (quirk P7)."""
    quiet_s: float = 3.0
    """A connection silent for this long is probed with a ping when subscriptions owe it heartbeats."""
    idle_s: float = 30.0
    """The same for a connection without subscriptions: Kraken closes after about a minute (quirk L2)."""
    dead_s: float = 5.0
    """A probe unanswered by any frame for this long means that the connection is lost."""
    stable_s: float = 30.0
    """A connection must carry all it owes for this long before the back-off starts anew (quirk N10)."""
    reconnect: int | None = None
    """How often to connect again: 0 never. None: streams for ever, once the first connection stood."""
    attempts: int = 100
    """Connection attempts that all processes of the user may make in `attempts_window_s`; Kraken bans at
    about 150 (quirk N1)."""
    attempts_window_s: float = 600.0
    resync_s: float = 10.0
    """How long a resubscribed book may take to send its snapshot before it is asked for again."""
    resyncs: int = 5
    """How often in a row a wrong book is asked for again before it is called untrusted (quirk B14)."""
    max_message_bytes: int = 16 * 1024 * 1024
    """A longer WebSocket message is refused (close 1009)."""
    verify: bool = True
    """Keep every book and compare its checksum on each update that carries one."""
    book: Literal["changes", "top", "full"] = "changes"
    """What a book update shows: `changes`, `top` (best bid and ask when either changed) or `full`."""
    backfill: bool = False
    """Ask REST for the trades that a gap lost (core/backfill.py)."""
    overflow: Literal["block", "drop", "exit"] = "block"
    """When stdout is read too slowly: `block` (the socket waits too), `drop` data and say so, or `exit`."""
    overflow_s: float = 10.0
    """With `exit`: how long stdout may take nothing."""
    overflow_bytes: int = 1024 * 1024
    """With `drop`: what is kept for the reader before data is dropped; for all else, twice as much."""
    check: bool = True
    """Hold orders to the rules of their pair before they are sent (core/ordercheck.py)."""
    strict: bool = False
    """Data that cannot be trusted ends the run with exit code 9."""
    spin: bool = False
    """Never sleep while waiting for bytes: less latency, for a core (net/poller.py)."""
    show_token: bool = False
    """Leave the token readable in transcripts."""
