"""The sandbox exchange: its markets, their traders, users with money, and Kraken's APIs in front.

Theory of this file
-------------------
`SandboxVenue` only connects: a `Market` is one pair and everything public about it, the `Desk` is the users'
orders, `Account` their money, `ApiKeys` and `Tokens` who they are, `SandboxBackend` what REST tells of it.
Here are the clock that they share, who may do what, and the answers to trading commands as v1 words them.

Time is given: `start_us` is what the wall clock shows at the monotonic time `now` of the start. Pairs that
are subscribed, or on which a user has an order, move at the instants that their traders have drawn, all of
them together in the order of time (`catch_up`), and so do the users' switches and late orders. The other
pairs are brought up to date in turn, each about once a second, and whenever somebody asks: what happens there
is the same, at the same times, whether anybody looks or not. With a truth log every pair is looked at.

Source: v1.md sections 5, 7, 9 and 13; auth.md sections 1 to 4.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from krakenws.core import v1_entries
from krakenws.core.catalog import CHANNEL
from krakenws.errors import UsageError
from krakenws.exchange import private
from krakenws.exchange.accounts import DEMO_BALANCES, Account
from krakenws.exchange.backend import SandboxBackend, SandboxRest
from krakenws.exchange.checks import UNKNOWN_PAIR
from krakenws.exchange.desk import Desk
from krakenws.exchange.draws import Draws
from krakenws.exchange.faults import FaultPlan
from krakenws.exchange.instruments import INSTRUMENTS, find
from krakenws.exchange.keys import DEMO_ACCOUNT, DEMO_KEY, DEMO_SECRET, ApiKeys, Grant, Tokens
from krakenws.exchange.market import BATCH_ACTIONS, MAX_LAG_US, Market
from krakenws.exchange.matching import UNKNOWN_ORDER
from krakenws.exchange.protocol import Venue
from krakenws.exchange.ratecounter import INTERMEDIATE
from krakenws.exchange.requests import Refusal
from krakenws.exchange.rest import CALLS
from krakenws.exchange.traders import uniform
from krakenws.exchange.truth import Truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.instruments import Instrument
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.ratecounter import Tier
    from krakenws.exchange.records import OrderRecord

    Answer = dict[str, Any]

SNAPSHOT_S = (0.4, 1.3)
"""How long after its ack a book's snapshot comes, at least and at most: 0.7 to 1.3 s in captures of 2021 and
2023, each pair in its own time, and 0.47 s in one of 2026. What other channels send first comes at once: the
tickers of 2021 within 6 ms. Source: v1.md section 3, end; quirk B20."""
SWEEP_US = 1_000_000
"""How old a market that nobody watches may get."""
_METHODS = {"subscribe", "unsubscribe", *CALLS, *(e.name for e in v1_entries.ENTRIES if e.kind != CHANNEL)}
_TOKEN_BYTES = 32


def instruments_of(names: Sequence[str]) -> list[Instrument]:
    """Return the pairs of some names in any spelling; all there are if none is named.

    Raises:
        UsageError: there is no such pair here.
    """
    found = []
    for name in names:
        instrument = find(name)
        if instrument is None:
            raise UsageError(
                f"the sandbox has no pair {name}; it has {', '.join(i.wsname for i in INSTRUMENTS)}"
            )
        if instrument not in found:
            found.append(instrument)
    return found or list(INSTRUMENTS)


class SandboxVenue(Venue):
    """The exchange.

    Args:
        seed: what the traders do, and the ids and faults; the same seed, the same market.
        pairs: names in any spelling; none are all.
        rate: acts a second of the traders of the liveliest pairs, others in proportion; None is lifelike.
        start_us: wall clock of the start, microseconds since 1970.
        now: monotonic seconds of the start.
        truth: takes the lines of the exchange's own account, see `truth`.

    Attributes:
        markets: by wsname.
        desk: the users' orders.
        keys: the API keys; that of the demo account is known from the start.
        tokens: the WebSocket tokens.
        snapshot_s: between which bounds the delay of a book's snapshot is drawn.
        reached_us: the time up to which all that matters has happened, microseconds since 1970.

    Raises:
        UsageError: a pair is unknown, or the rate is not above zero.
    """

    apis = (1, 2)
    max_rate_count = INTERMEDIATE.ceiling
    snapshot_s = SNAPSHOT_S

    def __init__(
        self,
        *,
        seed: int,
        start_us: int,
        now: float,
        pairs: Sequence[str] = (),
        rate: float | None = None,
        truth: Callable[[dict[str, object]], None] | None = None,
    ) -> None:
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError(f"a rate of {rate} is not a number above 0")
        self._started, self._start_us = now, start_us
        self._now = now
        self.reached_us = start_us
        self._truth: Truth | None = None
        self._draws = Draws(seed)
        self._draw_delay = uniform(seed, "snapshots")
        self.markets: dict[str, Market] = {}
        self.desk = Desk(self.markets, self._draws, self._tell)
        for instrument in instruments_of(pairs):
            self.markets[instrument.wsname] = Market(
                instrument,
                seed=seed,
                rate=rate,
                start_us=start_us,
                clearing=self.desk.open_pair(instrument),
                observe=self._observe,
            )
        self._turn = list(self.markets.values())
        self._sweep_us = start_us
        self.keys = ApiKeys()
        self.tokens = Tokens()
        if truth is not None:
            self._begin_truth(Truth(truth), seed, rate)
        self.open_account(DEMO_ACCOUNT, DEMO_BALANCES)
        self.keys.issue(DEMO_KEY, DEMO_SECRET, DEMO_ACCOUNT)
        self.faults: FaultPlan = FaultPlan(
            uniform(seed, "faults"), self._journal, symbols=self.markets, methods=_METHODS
        )
        self.rest = SandboxRest(SandboxBackend(self))

    def open_account(self, name: str, balances: Mapping[str, Decimal], tier: Tier = INTERMEDIATE) -> Account:
        """Return a new account that may trade."""
        account = Account(name, tier, balances)
        self.desk.open_account(account)
        self._tell("Account", self.reached_us, account=name, balances=dict(balances))
        return account

    def issue_token(self, grant: Grant, now: float) -> str:
        """Return a new WebSocket token."""
        return self.tokens.issue(grant, self._draws.take(_TOKEN_BYTES), now)

    def at_us(self, now: float) -> int:
        """Return the wall clock at a monotonic time, microseconds since 1970."""
        self._now = max(self._now, now)
        return self._start_us + round((self._now - self._started) * 1_000_000)

    @property
    def now_us(self) -> int:
        """The wall clock when something last happened here."""
        return self.at_us(self._now)

    def catch_up(self, now: float) -> int:
        """Let everything happen that matters, in the order of time; return the time that it is here then.

        That is the wall clock, unless the machine is too slow.
        """
        now_us = self.at_us(now)
        due, timer_us = self._due(now_us), self.desk.next_us
        for _ in range(BATCH_ACTIONS):
            if timer_us is not None and timer_us <= (due[0][0] if due else now_us):
                self.reached_us = max(self.reached_us, timer_us)
                self.desk.on_time(self.reached_us)
                due, timer_us = self._due(now_us), self.desk.next_us  # its order's pair may matter now
            elif due:
                _, number, market = due[0]
                self.reached_us = max(self.reached_us, market.act())
                next_us = market.next_us
                if next_us <= now_us:
                    heapreplace(due, (next_us, number, market))
                else:
                    heappop(due)
            else:
                self.reached_us = now_us
                break
        for _, _, market in due:
            market.skip(now_us - MAX_LAG_US)
        return self.reached_us

    def _due(self, now_us: int) -> list[tuple[int, int, Market]]:
        """Return the markets that matter and have something due, as a heap by its time."""
        due = [
            (market.next_us, number, market)
            for number, market in enumerate(self.markets.values())
            if market.next_us <= now_us and (self._truth is not None or self._is_looked_at(market))
        ]
        heapify(due)
        return due

    def _is_looked_at(self, market: Market) -> bool:
        return market.is_watched or bool(self.desk.orders_on(market.instrument.wsname))

    def set_status(self, status: str) -> None:
        """Let the exchange be `online`, in `maintenance`, or one of the modes between."""
        if status != self.status:
            self.status = self.desk.status = status
            for market in self.markets.values():
                market.advance(self.reached_us)  # until now it was the old status, also where nobody looks
                market.engine.mode = status
            self._tell("SystemStatus", self.reached_us, status=status)

    # What clients ask for

    def authorize(self, token: str) -> str:
        """Return the token: it, not the account, says what may be done. Its time is looked at again later."""
        self.tokens.grant(token, self._now)
        return token

    def subscribe(self, subscription: Subscription, now: float, /) -> int | None:
        """Admit it when there is such a pair, or its token allows the channel."""
        if subscription.account:
            self.tokens.grant(subscription.account, now).require(subscription.entry.name)
            self.tokens.subscribed(subscription.account)
            return None
        market = self.markets.get(subscription.symbol)
        if market is None:
            raise Refusal(f"Currency pair not supported {subscription.symbol}")
        return market.feeds.channel_id(subscription.channel)

    def delay_s(self, subscription: Subscription, /) -> float:
        """Draw when a book's snapshot comes."""
        if subscription.entry.name != "book":
            return 0.0
        least_s, most_s = self.snapshot_s
        return least_s + (most_s - least_s) * self._draw_delay()

    def begin(self, subscription: Subscription, now: float, /) -> None:
        """Send what a new subscriber is sent first."""
        if subscription.account:
            owner = self.tokens.grant(subscription.account, now).account
            now_us = self.catch_up(now)
            self.desk.reports.join(self.desk.files[owner], subscription, now_us)
        else:
            market = self.markets[subscription.symbol]
            market.advance(self.catch_up(now))
            market.join(subscription)

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        """Send it nothing more."""
        if subscription.account:
            self.tokens.unsubscribed(subscription.account)
            self.desk.reports.leave(subscription)
        else:
            self.markets[subscription.symbol].leave(subscription)

    def command(self, account: str, entry: Entry, values: Values, now: float, /) -> list[dict[str, Any]]:
        """Carry out a trading command of a token's owner."""
        grant = self.tokens.grant(account, now)
        now_us = self.catch_up(now)
        try:
            grant.require(entry.name)
            answers = _COMMANDS[entry.name](self, grant.account, values, now_us)
        except Refusal as refusal:
            self.refused(grant.account, entry.name, values, refusal.code)
            raise
        for answer in answers:
            if "errorMessage" in answer:
                self.refused(grant.account, entry.name, values, str(answer["errorMessage"]))
        return [{"status": "ok", **answer} for answer in answers]

    def _add_order(self, owner: str, values: Values, now_us: int) -> list[Answer]:
        market = self._market_of(values)
        record = self.desk.add(owner, market, values, market.advance(now_us))
        answer: Answer = {"descr": private.describe(record)}
        if record.order_id:
            answer["txid"] = record.order_id
        if record.terms.cl_ord_id:
            answer["cl_ord_id"] = record.terms.cl_ord_id
        return [answer]

    def _amend_order(self, owner: str, values: Values, now_us: int) -> list[Answer]:
        self.desk.amend(owner, values, now_us)
        named = "cl_ord_id" if values.get("cl_ord_id") else "txid"
        return [{"amend_id": self.desk.new_id("T"), named: values[named]}]

    def _edit_order(self, owner: str, values: Values, now_us: int) -> list[Answer]:
        market = self._market_of(values)
        old_id, record = self.desk.edit(owner, market, values, market.advance(now_us))
        changed = [
            f"{name} = {_long(values[name])}" for name in ("volume", "price", "price2") if values.get(name)
        ]
        answer: Answer = {"descr": f"order edited {', '.join(changed)}".rstrip(), "originaltxid": old_id}
        if record.order_id:
            answer["txid"] = record.order_id
        return [answer]

    def _cancel_order(self, owner: str, values: Values, now_us: int) -> list[Answer]:
        """Answer once for each order cancelled, and for each name that stands for none."""
        file = self.desk.files[owner]
        names = values.get("txid") or values.get("cl_ord_id")
        look_up = file.named if values.get("txid") else file.by_client_id
        answers: list[Answer] = []
        for name in names if isinstance(names, list) else []:
            found = look_up(name)
            answers += [self._cancel(record, now_us) for record in found]
            if not found:
                answers.append({"errorMessage": UNKNOWN_ORDER, "status": "error"})
        return answers

    def _cancel(self, record: OrderRecord, now_us: int) -> Answer:
        try:
            self.desk.cancel(record, now_us)
        except Refusal as refusal:
            return {"errorMessage": refusal.code, "status": "error"}
        return {}

    def _cancel_all(self, owner: str, _values: Values, now_us: int) -> list[Answer]:
        return [{"count": self.desk.cancel_all(owner, now_us)}]

    def _cancel_all_after(self, owner: str, values: Values, now_us: int) -> list[Answer]:
        timeout_s = values["timeout"]
        assert isinstance(timeout_s, int)  # noqa: S101 - the catalog has seen to it
        fires_us = self.desk.set_switch(owner, timeout_s, now_us)
        return [
            {"currentTime": _second(now_us), "triggerTime": "0" if fires_us is None else _second(fires_us)}
        ]

    def _market_of(self, values: Values) -> Market:
        market = self.markets.get(str(values["pair"]))
        if market is None:
            raise Refusal(UNKNOWN_PAIR)
        return market

    # Time

    def next_deadline(self) -> float | None:
        """When the next market that matters moves, the next order begins, or the next sweep is due."""
        times = [market.next_us for market in self.markets.values() if self._is_looked_at(market)]
        times.append(self._sweep_us)
        desk_us = self.desk.next_us
        if desk_us is not None:
            times.append(desk_us)
        return self._started + (min(times) - self._start_us) / 1_000_000

    def on_deadline(self, now: float, /) -> None:
        """Carry out what is due; a batch at most, what is left stays due."""
        now_us = self.catch_up(now)
        for _ in self._turn:
            if self._sweep_us > now_us:
                return
            self._sweep_us += SWEEP_US // len(self._turn)
            self._turn.append(self._turn.pop(0))
            self._turn[-1].advance(now_us)
        self._sweep_us = max(self._sweep_us, now_us + 1)

    def suffer(self, faults: FaultPlan, now: float, /) -> None:
        """Let faults of the exchange itself happen."""
        self.catch_up(now)
        self.set_status(faults.system_status(now) or type(self).status)
        for rule in faults.befalls(now):
            if rule.name == "expire_tokens":
                self.tokens.void()
                continue
            for market in self.markets.values():
                if rule.symbol in {"", market.instrument.wsname}:
                    market.feeds.change_precision(rule.options["decimals"])

    # Telling

    def failed(self, error: Exception, _now: float, /) -> None:
        """Tell the truth log."""
        self.desk.reports.failed(error, self.reached_us)

    def refused(self, account: str, method: str, asked: Mapping[str, object], error: str) -> None:
        """Tell the truth log of a request that changed nothing."""
        given = {name: value for name, value in asked.items() if value not in (None, "")}
        self._tell("Refused", self.reached_us, account=account, method=method, asked=given, error=error)

    def _begin_truth(self, truth: Truth, seed: int, rate: float | None) -> None:
        """Tell the truth log what all else follows from: the settings, and every pair's first book."""
        truth.tell("Started", self.reached_us, seed=seed, rate=rate, pairs=list(self.markets))
        for market in self.markets.values():
            market.open()
            truth.opened(market, self.reached_us)
        self._truth = truth

    def _observe(self, market: Market, events: Sequence[EngineEvent], at_us: int) -> None:
        pair = market.instrument.wsname
        orders = self.desk.orders_on(pair)
        if self._truth is not None:
            self._truth.transaction(pair, events, at_us, orders)
        if orders:
            self.desk.digest(market, events, at_us)

    def _tell(self, event: str, time_us: int, **fields: object) -> None:
        if self._truth is not None:
            self._truth.tell(event, time_us, **fields)

    def _journal(self, strike: dict[str, object], _now: float) -> None:
        self._tell("Fault", self.reached_us, **strike)


if TYPE_CHECKING:
    _Command = Callable[[SandboxVenue, str, Values, int], list[Answer]]

_COMMANDS: dict[str, _Command] = {
    "addOrder": SandboxVenue._add_order,
    "amendOrder": SandboxVenue._amend_order,
    "editOrder": SandboxVenue._edit_order,
    "cancelOrder": SandboxVenue._cancel_order,
    "cancelAll": SandboxVenue._cancel_all,
    "cancelAllOrdersAfter": SandboxVenue._cancel_all_after,
}


def _second(at_us: int) -> str:
    """Return the next whole second, `2020-12-21T09:37:09Z`. Source: v1.md 9.6."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(-(-at_us // 1_000_000), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _long(number: object) -> str:
    """Return a number as edits print it, `9000.00000000`; a relative price as it was written."""
    from decimal import Decimal

    text = str(number)
    return f"{Decimal(text):.8f}" if text.replace(".", "", 1).isdigit() else text
