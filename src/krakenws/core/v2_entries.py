"""API v2: what may be said. So far `balances`, the one feed that v1 never had.

Source: docs.kraken.com, Spot WebSocket API v2; v2.md section 6.
"""

from __future__ import annotations

from krakenws.core.catalog import CHANNEL, PRIVATE, Entry, Param
from krakenws.core.kinds import BOOLEAN, INTEGER, WORD

_DOCS = "https://docs.kraken.com/api/docs/websocket-v2/"

BALANCES = Entry(
    api=2,
    name="balances",
    kind=CHANNEL,
    access=PRIVATE,
    help="Your balances: every asset with its wallets, then each ledger entry.",
    params=(
        Param("snapshot", BOOLEAN, "begin with all balances", default=True),
        Param("rebased", BOOLEAN, "show xStocks in rebased units", default=True),
        Param("users", WORD, "all: the entries of subaccounts too, for a master account", choices=("all",)),
        Param("req_id", INTEGER, "a number of yours that the answer echoes", example="7"),
    ),
    rows="Balance",
    owes_snapshot=True,
    examples=("balances", "balances snapshot=false"),
    source=f"{_DOCS}balances",
    notes=(
        "one trade is two entries, base and quote, with the same ref_id",
        "needs a WebSocket token: see 'krakenws token --help'",
    ),
)

ENTRIES: tuple[Entry, ...] = (BALANCES,)
