"""The public names of the package, each loaded when it is first used; the stub beside has their types."""

from __future__ import annotations

from importlib import import_module

PLACES = {
    "api": ("connect",),
    "net.client": ("Client",),
    "net.stream": ("Stream",),
    "net.livebook": ("LiveBook",),
    "options": ("Options",),
    "core.dialect": ("Malformed",),
    "core.events": (
        *(
            "Backfilled",
            "Connected",
            "Deferred",
            "Disconnected",
            "Event",
            "Gap",
            "Lagging",
            "Pong",
            "Refused",
        ),
        *("Status", "Subscribed", "Unsubscribed", "Untrusted", "Update", "Violation"),
    ),
    "core.rows": (
        *("Balance", "Candle", "Fill", "Level", "Levels", "Order", "Spread", "Ticker", "Trade", "Wallet"),
    ),
    "core.verdicts": (
        *("OrderAdded", "OrderAmended", "OrderEdited", "OrdersCancelled", "SwitchSet", "Verdict"),
    ),
    "errors": (
        *("ConnectionFailed", "CredentialsError", "IntentUnderway", "KrakenWSError", "LocalProtocolError"),
        *("OrderRejected", "OutcomeUnknown", "PolicyRefused", "ProtocolError", "RemoteProtocolError"),
        *("RequestRejected", "SinkError", "UsageError"),
    ),
}
"""Where each public name lives: its module, below this package."""

NAMES = ["__version__", "sync", *sorted(name for names in PLACES.values() for name in names)]


def load(name: str) -> object:
    """Return what a public name stands for.

    Raises:
        AttributeError: there is no such name.
    """
    if name == "sync":
        return import_module("krakenws.sync")
    for module, names in PLACES.items():
        if name in names:
            return getattr(import_module(f"krakenws.{module}"), name)
    raise AttributeError(f"module 'krakenws' has no attribute {name!r}")
