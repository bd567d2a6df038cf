"""The async Python API: `krakenws.connect` gives a `Client`."""

from __future__ import annotations

import asyncio
from itertools import count
from time import time
from typing import TYPE_CHECKING, Any, overload

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import CHANNEL, Bound, bind, find, nearest, shown
from krakenws.core.events import Pong, Rejected, Reply, Unanswered
from krakenws.core.intents import NAMES, is_name
from krakenws.core.kinds import INTEGER
from krakenws.core.verdicts import (
    OrderAdded,
    OrderAmended,
    OrderEdited,
    OrdersCancelled,
    SwitchSet,
    verdict_of,
)
from krakenws.errors import ConnectionFailed, OrderRejected, OutcomeUnknown, UsageError
from krakenws.net.aioshell import LOG
from krakenws.net.livebook import LiveBook
from krakenws.net.stream import MAX_EVENTS, Stream
from krakenws.net.verdicts import refusal
from krakenws.net.wording import SPEAKING_PYTHON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Literal, Self, Unpack

    from krakenws.core.catalog import Entry
    from krakenws.core.rows import Balance, Candle, Fill, Levels, Order, Spread, Ticker, Trade
    from krakenws.core.verdicts import VerdictT
    from krakenws.net.aioshell import End
    from krakenws.net.aiotrading import TradingShell
    from krakenws.net.parameters import (
        Amount,
        AnyParams,
        Api,
        BalancesParams,
        BookParams,
        CandleParams,
        Depth,
        EditFlags,
        MoreOfAnOrder,
        OpenOrdersParams,
        OrderFlags,
        OrderType,
        Overflow,
        OwnTradesParams,
        Reading,
        Side,
        TimeInForce,
    )

_FIRST_PING = 1 << 32
"""Far from the numbers of requests and of the probes of silence: an answer is that of one ping."""
ENTRIES = (*v1_entries.ENTRIES, *v2_entries.ENTRIES)


class Client:
    """Kraken over one connection for each endpoint, opened when first needed and kept.

    Made by `krakenws.connect`, used as an async context manager::

        async with krakenws.connect() as kraken:
            async for event in kraken.stream("ticker", "XBT/USD"):
                print(event)

    Connections heal by themselves: streams say so in their events, books are untrusted meanwhile. Any number
    of streams, books and requests share them, from any number of tasks of one event loop.
    """

    def __init__(
        self,
        open_shell: Callable[[], Awaitable[TradingShell]],
        end: Callable[[], Awaitable[None]],
    ) -> None:
        self._open_shell = open_shell
        self._end = end
        self._opened: TradingShell | None = None
        self._pings = count(_FIRST_PING)

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise UsageError("a client is opened once: make another one with krakenws.connect")
        with SPEAKING_PYTHON:
            self._opened = await self._open_shell()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all streams and requests, and say goodbye to the exchange; takes 0.3 s at most.

        A trading request that was sent and has no verdict yet raises `OutcomeUnknown` where it is awaited;
        its intent stays in the journal, for `krakenws reconcile`.
        """
        if self._opened is not None:
            try:
                await self._opened.close()
            finally:
                await self._end()

    @property
    def _shell(self) -> TradingShell:
        if self._opened is None:
            raise UsageError("this client is not open: use it as `async with krakenws.connect() as kraken:`")
        return self._opened

    # ---- market data and private feeds

    if TYPE_CHECKING:

        @overload
        def stream(
            self, channel: Literal["ticker"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Ticker]: ...
        @overload
        def stream(
            self, channel: Literal["book"], /, *pairs: str, **params: Unpack[BookParams]
        ) -> Stream[Levels]: ...
        @overload
        def stream(
            self, channel: Literal["spread"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Spread]: ...
        @overload
        def stream(
            self, channel: Literal["ohlc"], /, *pairs: str, **params: Unpack[CandleParams]
        ) -> Stream[Candle]: ...
        @overload
        def stream(
            self, channel: Literal["trade"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Trade]: ...
        @overload
        def stream(
            self, channel: Literal["openOrders"], /, **params: Unpack[OpenOrdersParams]
        ) -> Stream[Order]: ...
        @overload
        def stream(
            self, channel: Literal["ownTrades"], /, **params: Unpack[OwnTradesParams]
        ) -> Stream[Fill]: ...
        @overload
        def stream(
            self, channel: Literal["balances"], /, **params: Unpack[BalancesParams]
        ) -> Stream[Balance]: ...
        @overload
        def stream(self, channel: str, /, *pairs: str, **params: Unpack[AnyParams]) -> Stream[Any]: ...

    def stream(
        self,
        channel: str,
        /,
        *pairs: str,
        api: Api | None = None,
        overflow: Overflow = "block",
        max_events: int = MAX_EVENTS,
        **params: object,
    ) -> Stream[Any]:
        """Return the events of a channel, from now on, to iterate over.

        A second stream of the same book begins with a snapshot of the verified book at hand. One of a private
        channel that is open already begins with what comes next: share the first.

        Args:
            channel: its name in the catalog: `ticker`, `book`, `spread`, `ohlc`, `trade`, `openOrders`,
                `ownTrades`, `balances`.
            pairs: `XBT/USD`, one or more, for the public channels.
            api: the API version; None: the first that has the channel.
            overflow: what happens when `max_events` wait to be taken: "block" stops reading the connection,
                "drop" leaves out market data and says exactly what, "raise" ends the stream with `SinkError`.
            max_events: how many events may wait; with "block", what one read of the socket brings (64 KiB)
                comes on top.
            params: the channel's parameters, named as on the command line: `depth=25`, `interval=60`.

        Raises:
            UsageError: the words do not fit the catalog; nothing was sent.
        """
        with SPEAKING_PYTHON:
            bound = _bound(channel, pairs, params, api)
            if bound.entry.kind != CHANNEL:
                raise UsageError(f"{bound.entry.name} is a command, not a channel: there is a method for it")
            top_only = self._shell.options.book == "top"
            return Stream(self._shell, bound, overflow=overflow, max_events=max_events, top_only=top_only)

    def book(self, pair: str, /, *, depth: Depth = 10) -> LiveBook:
        """Return the order book of a pair, kept up to date and verified from now on.

        Args:
            pair: `XBT/USD`.
            depth: price levels on each side.

        Raises:
            UsageError: the words do not fit the catalog, or `Options.verify` is off.
        """
        if not self._shell.options.verify:
            raise UsageError("a live book is a verified one: leave Options.verify on")
        with SPEAKING_PYTHON:
            return LiveBook(self._shell, _bound("book", (pair,), {"depth": depth}, None))

    async def pairs(self, *patterns: str) -> list[str]:
        """Return the exchange's pairs by their names on the WebSocket, those that match any of the patterns.

        Args:
            patterns: `*/USD`, `XBT/*`; none: all. Empty when no pair matches any.

        Raises:
            ConnectionFailed: REST did not answer, and there is no list from before.

        Source: docs.kraken.com, REST AssetPairs.
        """
        from krakenws.net.pairs import load

        with SPEAKING_PYTHON:
            known = await asyncio.to_thread(load, self._shell.options, refresh=False, now_s=time())
        if known.note:
            LOG.warning("%s", known.note)
        return list(
            dict.fromkeys(name for pattern in patterns or ("*/*",) for name in known.expand(pattern, 1))
        )

    async def ping(self) -> Pong:
        """Ask the exchange for a pong over the public connection; `round_trip_s` is in seconds.

        Raises:
            ConnectionFailed: no connection, or no answer in time.
        """
        with SPEAKING_PYTHON:
            end = await self._shell.request(Bound(v1_entries.PING, {"reqid": next(self._pings)}))
        if isinstance(end, Pong):
            return end
        raise ConnectionFailed(f"ping: {end.hint if isinstance(end, Unanswered) else end}")

    # ---- trading

    async def add_order(
        self,
        /,
        pair: str,
        *,
        type: Side,  # noqa: A002 - the exchange's word
        ordertype: OrderType,
        volume: Amount,
        price: Amount | None = None,
        price2: Amount | None = None,
        leverage: int | None = None,
        reduce_only: bool | None = None,
        oflags: OrderFlags | None = None,
        timeinforce: TimeInForce | None = None,
        starttm: str | None = None,
        expiretm: str | None = None,
        deadline: str | None = None,
        userref: int | None = None,
        cl_ord_id: str | None = None,
        validate: bool | None = None,
        intent: str | None = None,
        **more: Unpack[MoreOfAnOrder],
    ) -> OrderAdded:
        """Place one order; it is sent at most once, whatever happens.

        Args:
            pair: `XBT/USD`.
            type: its side.
            ordertype: how it executes.
            volume: quantity in base units, in quote units with `oflags="viqc"`.
            price: limit price, or the trigger of stop, take-profit and trailing types.
            price2: limit price of the types that have both.
            leverage: margin factor the pair offers.
            reduce_only: margin orders: only reduce a position.
            oflags: `post`, `fciq`, `fcib`, `viqc`, `nompp`.
            timeinforce: how long it stands.
            starttm: when it starts: `+SECONDS` or unix time.
            expiretm: when it ends, the same.
            deadline: RFC 3339 time after which the exchange refuses it, 0.5 to 60 s ahead.
            userref: a number of yours.
            cl_ord_id: an id of yours, unique among open orders.
            validate: only check it, place nothing.
            intent: a name of yours for this call, at most 64 ASCII characters. Used again, in this process or
                any other of the user, it is answered with the first verdict, and nothing is sent. Tasks of
                this client that use it at once await one order.
            more: further parameters of `krakenws addOrder --help`; `close_ordertype` is `close[ordertype]`.

        Returns:
            Its id and description.

        Raises:
            OrderRejected: the exchange said no; `code` is its error.
            OutcomeUnknown: it was sent, its answer was lost, and look-ups did not tell what became of it:
                look at open orders before anything else. `krakenws reconcile` looks again.
            ConnectionFailed: it was not sent.
            CredentialsError: there is no usable token, or it may not trade.
            UsageError: the values do not fit, break the rules of the pair, or differ from those that the
                `intent` stands for. Nothing was sent.
            IntentUnderway: another process sent what bears the `intent`, and has no answer yet: ask again.
            PolicyRefused: the user's own policy forbids it; nothing was sent.
            SinkError: the journal cannot be written; nothing was sent. It is `retryable` if another program
                has locked it, for which an order waits five seconds.

        Source: docs.kraken.com, Spot WebSocket API v1, addOrder.
        """
        given = locals()
        return await self._trade("addOrder", OrderAdded, given)

    async def amend_order(
        self,
        *,
        txid: str | None = None,
        cl_ord_id: str | None = None,
        pair: str | None = None,
        volume: Amount | None = None,
        limit_price: Amount | None = None,
        trigger_price: Amount | None = None,
        display_volume: Amount | None = None,
        post_only: bool | None = None,
        deadline: str | None = None,
        intent: str | None = None,
    ) -> OrderAmended:
        """Change an order in place; it keeps its id and, where possible, its place in the queue.

        Args:
            txid: the order's id, or
            cl_ord_id: your own id of it.
            pair: needed for pairs that are not crypto.
            volume: new quantity in base units; below what is filled it cancels the rest.
            limit_price: new limit price.
            trigger_price: new trigger price.
            display_volume: iceberg orders: visible quantity.
            post_only: refuse a price that would take.
            deadline: as for `add_order`.
            intent: as for `add_order`.

        Raises:
            KrakenWSError: as `add_order` does.

        Source: docs.kraken.com, Spot WebSocket API v1, amendOrder.
        """
        given = locals()
        return await self._trade("amendOrder", OrderAmended, given)

    async def edit_order(
        self,
        orderid: str,
        pair: str,
        *,
        volume: Amount | None = None,
        price: Amount | None = None,
        price2: Amount | None = None,
        oflags: EditFlags | None = None,
        newuserref: int | None = None,
        validate: bool | None = None,
        intent: str | None = None,
    ) -> OrderEdited:
        """Cancel an order and place its changed copy: new id, new place in the queue.

        Args:
            orderid: id or userref of the order.
            pair: its pair, which cannot change.
            volume: new quantity in base units; Kraken documents it as required.
            price: new price.
            price2: new second price.
            oflags: only `post` means anything here; an empty one clears it.
            newuserref: userref of the new order.
            validate: only check, change nothing.
            intent: as for `add_order`.

        Raises:
            KrakenWSError: as `add_order` does.

        Source: docs.kraken.com, Spot WebSocket API v1, editOrder.
        """
        given = locals()
        return await self._trade("editOrder", OrderEdited, given)

    async def cancel_order(
        self,
        *txid: str,
        userref: int | Iterable[int] | None = None,
        cl_ord_id: str | Iterable[str] | None = None,
        intent: str | None = None,
    ) -> OrdersCancelled:
        """Cancel orders by id, userref or your own id.

        Args:
            txid: order ids; a number is taken as a userref.
            userref: userrefs; one may stand for many orders.
            cl_ord_id: ids of yours.
            intent: as for `add_order`.

        Each order that is named leaves as a request of its own, so that each has a verdict of its own.

        Raises:
            OrderRejected: at least one was refused; the message names it.
            KrakenWSError: as `add_order` does.

        Source: docs.kraken.com, Spot WebSocket API v1, cancelOrder.
        """
        given = {"txid": txid or None, "userref": userref, "cl_ord_id": cl_ord_id, "intent": intent}
        return await self._trade("cancelOrder", OrdersCancelled, given)

    async def cancel_all(self, *, intent: str | None = None) -> OrdersCancelled:
        """Cancel all open orders of the account; `count` says how many there were.

        Args:
            intent: as for `add_order`.

        Raises:
            KrakenWSError: as `add_order` does.

        Source: docs.kraken.com, Spot WebSocket API v1, cancelAll.
        """
        return await self._trade("cancelAll", OrdersCancelled, {"intent": intent})

    async def cancel_all_orders_after(self, timeout_s: int, /, *, intent: str | None = None) -> SwitchSet:
        """Set the dead man's switch: all orders of the account are cancelled unless it is set again in time.

        Args:
            timeout_s: seconds until it fires, below 86400; 0 switches it off.
            intent: as for `add_order`.

        Raises:
            KrakenWSError: as `add_order` does.

        Source: docs.kraken.com, Spot WebSocket API v1, cancelAllOrdersAfter.
        """
        return await self._trade("cancelAllOrdersAfter", SwitchSet, {"timeout": timeout_s, "intent": intent})

    async def _trade(self, name: str, kind: type[VerdictT], given: dict[str, Any]) -> VerdictT:
        """The one way of everything that trades: bound, sent once, judged by its verdict."""
        more = given.pop("more", {})
        intent = given.pop("intent", None)
        given.pop("self", None)
        if intent is not None and not is_name(intent):
            raise UsageError(f"intent={intent!r} is not {NAMES}")
        with SPEAKING_PYTHON:
            bound = _bound(name, (), {**given, **more}, None)
            ends = await self._shell.order(bound, intent or "")
        return verdict_of(kind, _accepted(name, ends))


def _accepted(name: str, ends: list[End]) -> list[Reply]:
    """Return the answers to a command whose requests were all accepted; else raise, the gravest first."""
    for end in ends:
        if isinstance(end, Unanswered):
            raise OutcomeUnknown(f"{name}: outcome unknown: {end.hint}", end.intent)
    for end in ends:
        if isinstance(end, Rejected):
            raise refusal(f"{name} {end.order}", end.error, OrderRejected)
    return [end for end in ends if isinstance(end, Reply)]


def _bound(name: str, pairs: Iterable[str], params: dict[str, Any], api: int | None) -> Bound:
    """Bind values of Python as the command line binds words: one grammar, one set of checks."""
    entry = find(ENTRIES, name, api)
    if entry is None:
        if other := find(ENTRIES, name, None):
            raise UsageError(f"there is no {name} in API v{api}: it is one of v{other.api}")
        meant = nearest(name, [entry.name for entry in ENTRIES])
        raise UsageError(f"there is no {shown(name)}" + (f"; did you mean {meant}?" if meant else ""))
    words = [_word(entry, entry.pairs.name if entry.pairs else "pair", pair) for pair in pairs]
    words += [_word(entry, key, value) for key, value in params.items() if value is not None]
    return bind(entry, words)


def _word(entry: Entry, name: str, value: object) -> str:
    return f"{name}={_text(entry, name, value)}"


def _text(entry: Entry, name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        param = entry.param(name)
        whole = param is not None and param.kind is INTEGER and value.is_integer()
        exact = int(value) if whole else f"'{value}'"
        raise UsageError(f"{entry.name}: {name}={value} is a float, which is not exact: write {exact}")
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text(entry, name, item) for item in value)
    from decimal import Decimal

    if isinstance(value, Decimal):
        if not value.is_finite():
            raise UsageError(f"{entry.name}: {name}={value} is not a number")
        return format(value, "f")
    raise UsageError(f"{entry.name}: {name} is {type(value).__name__}, not text, a number or a list of them")
