"""Kraken's WebSocket API at the command line and in Python.

The public names of the Python API; `docs/python.md` introduces it. Each is loaded when it is first used, so
that the command line does not pay for them.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws import sync as sync
    from krakenws.api import connect as connect
    from krakenws.core.dialect import Malformed as Malformed
    from krakenws.core.events import Backfilled as Backfilled
    from krakenws.core.events import Connected as Connected
    from krakenws.core.events import Deferred as Deferred
    from krakenws.core.events import Disconnected as Disconnected
    from krakenws.core.events import Event as Event
    from krakenws.core.events import Gap as Gap
    from krakenws.core.events import Lagging as Lagging
    from krakenws.core.events import Pong as Pong
    from krakenws.core.events import Refused as Refused
    from krakenws.core.events import Status as Status
    from krakenws.core.events import Subscribed as Subscribed
    from krakenws.core.events import Unsubscribed as Unsubscribed
    from krakenws.core.events import Untrusted as Untrusted
    from krakenws.core.events import Update as Update
    from krakenws.core.events import Violation as Violation
    from krakenws.core.rows import Balance as Balance
    from krakenws.core.rows import Candle as Candle
    from krakenws.core.rows import Fill as Fill
    from krakenws.core.rows import Level as Level
    from krakenws.core.rows import Levels as Levels
    from krakenws.core.rows import Order as Order
    from krakenws.core.rows import Spread as Spread
    from krakenws.core.rows import Ticker as Ticker
    from krakenws.core.rows import Trade as Trade
    from krakenws.core.rows import Wallet as Wallet
    from krakenws.core.verdicts import OrderAdded as OrderAdded
    from krakenws.core.verdicts import OrderAmended as OrderAmended
    from krakenws.core.verdicts import OrderEdited as OrderEdited
    from krakenws.core.verdicts import OrdersCancelled as OrdersCancelled
    from krakenws.core.verdicts import SwitchSet as SwitchSet
    from krakenws.core.verdicts import Verdict as Verdict
    from krakenws.errors import ConnectionFailed as ConnectionFailed
    from krakenws.errors import CredentialsError as CredentialsError
    from krakenws.errors import KrakenWSError as KrakenWSError
    from krakenws.errors import LocalProtocolError as LocalProtocolError
    from krakenws.errors import OrderRejected as OrderRejected
    from krakenws.errors import OutcomeUnknown as OutcomeUnknown
    from krakenws.errors import PolicyRefused as PolicyRefused
    from krakenws.errors import ProtocolError as ProtocolError
    from krakenws.errors import RemoteProtocolError as RemoteProtocolError
    from krakenws.errors import RequestRejected as RequestRejected
    from krakenws.errors import SinkError as SinkError
    from krakenws.errors import UsageError as UsageError
    from krakenws.net.client import Client as Client
    from krakenws.net.livebook import LiveBook as LiveBook
    from krakenws.net.stream import Stream as Stream
    from krakenws.options import Options as Options

_PLACES = {
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
        *("ConnectionFailed", "CredentialsError", "KrakenWSError", "LocalProtocolError", "OrderRejected"),
        *("OutcomeUnknown", "PolicyRefused", "ProtocolError", "RemoteProtocolError", "RequestRejected"),
        *("SinkError", "UsageError"),
    ),
}
"""Where each public name lives: its module, below this package."""

__all__ = ["__version__", "sync", *sorted(name for names in _PLACES.values() for name in names)]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "sync":
        return import_module("krakenws.sync")
    for module, names in _PLACES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"krakenws.{module}"), name)
            return value
    raise AttributeError(f"module 'krakenws' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
