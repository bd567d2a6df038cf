"""What must hold of a history: the journal and the printed verdicts against the exchange's own account."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from krakenws.core.events import Rejected, Reply, Unanswered
from krakenws.core.inquiry import AGED_NS
from krakenws.core.intents import ACCEPTED, REJECTED, SETTLED
from krakenws.exchange.keys import DEMO_ACCOUNT
from krakenws.journal import Journal
from krakenws.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krakenws.core.intents import Intent
    from tests.history.world import Process, Sent, World

PLACING = ("addOrder", "editOrder")
_SKEW_US = 1_000_000
"""Within which orders of before an intent cannot be told from those since (`core.inquiry`)."""


def violations(world: World, last: Process, pending: set[tuple[str, int]]) -> list[str]:
    """Return what must not be.

    Args:
        world: after its end.
        last: the last `reconcile`, long after, with a key and without misfortunes.
        pending: the intents that were open before it.
    """
    state = State(world.directory)
    try:
        rows = {(row.id, row.part): row for row in Journal(state).last(10_000)}
    finally:
        state.close()
    judge = _Judge(world, rows)
    return [
        *judge.requests(),
        *judge.orders(),
        *judge.journal(),
        *judge.printed(),
        *judge.forgotten(last, pending),
        *judge.fills(),
    ]


class _Judge:
    def __init__(self, world: World, rows: dict[tuple[str, int], Intent]) -> None:
        self._world = world
        self._rows = rows
        self._sent: dict[tuple[str, int], Sent] = {s.key: s for s in world.sent if s.key is not None}
        self._ended = {line["order_id"]: line for line in world.truth if line["event"] == "Ended"}
        self._accepted = {
            line["order"]["order_id"]: line
            for line in world.truth
            if line["event"] in {"Accepted", "Scheduled"} and line.get("account") == DEMO_ACCOUNT
        }

    def requests(self) -> Iterator[str]:
        """Each request has its row before it leaves, and leaves once."""
        for sent in self._world.sent:
            if sent.key is None or sent.key not in self._rows:
                yield f"{sent.method} {sent.message['reqid']} of process {sent.pid} left without a row"
            elif not sent.is_durable:
                yield f"{sent.method} {sent.key} left before its row was on the disk"
        for key, times in Counter(sent.key for sent in self._world.sent if sent.key).items():
            if times > 1:
                yield f"intent {key} left {times} times"
        by_name: dict[str, set[int]] = defaultdict(set)
        for sent in self._world.sent:
            if sent.key:
                by_name[sent.key[0]].add(sent.pid)
        for name, pids in by_name.items():
            if len(pids) > 1:
                yield f"intent {name} was sent by processes {sorted(pids)}"

    def orders(self) -> Iterator[str]:
        """There are no more orders than intents to place one."""
        made = Counter(line["order"]["order_id"] for s in self._world.sent for line in s.did("Accepted"))
        for order_id in self._accepted.keys() - made.keys():
            yield f"order {order_id} comes from no request"
        for sent in self._world.sent:
            if len(sent.did("Accepted")) > 1:
                yield f"{sent.key} made {len(sent.did('Accepted'))} orders"

    def journal(self) -> Iterator[str]:
        """Every verdict in the journal is true."""
        for key, row in self._rows.items():
            if row.state in {ACCEPTED, REJECTED, SETTLED}:
                yield from (
                    f"intent {key} ({row.method}, found {row.found!r}): {what}" for what in self._lies(row)
                )

    def _lies(self, row: Intent) -> Iterator[str]:
        sent = self._sent.get((row.id, row.part))
        if row.method in PLACING:
            made = [line["order"]["order_id"] for line in sent.did("Accepted")] if sent else []
            if row.state == ACCEPTED and made != [row.result.get("order_id")]:
                yield f"accepted as {row.result.get('order_id')}, but it made {made}"
            elif row.state == REJECTED and made:
                yield f"{row.state} ({row.error}), but it made {made}"
        elif row.method == "cancelOrder":
            yield from self._cancel_lies(row, sent)
        elif row.method == "cancelAll":
            yield from self._cancel_all_lies(row, sent)
        elif row.method == "amendOrder":
            amended = sent.did("Amended") if sent else []
            if row.state == REJECTED and amended:
                yield f"rejected ({row.error}), but it amended"
            elif row.state == ACCEPTED and not amended and not self._stands(row):
                yield "accepted, but it did not amend, and the order does not stand so"

    def _cancel_lies(self, row: Intent, sent: Sent | None) -> Iterator[str]:
        order_id = row.sent["txid"][0]
        mine = [line for line in sent.did("Ended") if line["order_id"] == order_id] if sent else []
        ended = self._ended.get(order_id)
        if row.state == REJECTED and mine:
            yield f"rejected ({row.error}), but it cancelled {order_id}"
        elif row.state == ACCEPTED:
            since_us = row.created_ns // 1000 - _SKEW_US
            if ended is None or ended["status"] != "canceled" or ended["time_us"] < since_us:
                yield f"accepted, but {order_id} ended so: {ended}"

    def _cancel_all_lies(self, row: Intent, sent: Sent | None) -> Iterator[str]:
        created_us = row.created_ns // 1000
        settled_us = (row.settled_ns or 0) // 1000
        if row.state == REJECTED and sent and sent.did("Ended"):
            yield f"rejected ({row.error}), but it cancelled {sent.did('Ended')}"
        if row.state != ACCEPTED:
            return
        early = settled_us < created_us + AGED_NS // 1000 and not _has_come(sent, settled_us)
        if early and not self._others_cancelled(row, sent, settled_us):
            yield "accepted, but it had not arrived"
        for order_id, line in self._accepted.items():
            ended_us = self._ended.get(order_id, {}).get("time_us")
            if line["time_us"] < created_us and (ended_us is None or ended_us > settled_us):
                yield f"accepted, but {order_id} stood on"

    def _others_cancelled(self, row: Intent, sent: Sent | None, settled_us: int) -> bool:
        """Whether another request cancelled an order in that time: it looks as if this one had done it."""
        mine = {line["order_id"] for line in sent.did("Ended")} if sent else set()
        return any(
            line["status"] == "canceled" and row.created_ns // 1000 <= line["time_us"] <= settled_us
            for order_id, line in self._ended.items()
            if order_id not in mine
        )

    def _stands(self, row: Intent) -> bool:
        """Whether the order had the amounts at some time, whoever gave them to it."""
        order_id = row.sent["txid"]
        order = self._accepted[order_id]["order"]
        had = [(order["qty"], order["limit_price"])]
        for line in self._world.truth:
            if line["event"] == "Amended" and line["order_id"] == order_id:
                had.append((line["qty"], line.get("limit_price") or line.get("price") or had[-1][1]))
        return any(
            all(
                wanted is None or (now is not None and Decimal(now) == Decimal(wanted))
                for now, wanted in zip(
                    amounts, (row.sent.get("volume"), row.sent.get("limit_price")), strict=True
                )
            )
            for amounts in had
        )

    def printed(self) -> Iterator[str]:
        """What was printed is what the journal says, once a run; a run that ends says something of each."""
        for process in self._world.processes:
            told = Counter((event.intent, event.req_id) for event in process.told)
            for key, times in told.items():
                if times > 1:
                    yield f"process {process.pid} told of {key} {times} times"
            for event in process.told:
                yield from self._told_otherwise(process, event)
            if process.killed:
                continue
            for row in self._rows.values():
                if row.pid == process.pid and (row.id, row.req_id) not in told:
                    yield f"process {process.pid} ended without a word on {row.id}/{row.part} {row.method}"

    def _told_otherwise(self, process: Process, event: Reply | Rejected | Unanswered) -> Iterator[str]:
        if not event.intent:
            if any(s.pid == process.pid and s.message["reqid"] == event.req_id for s in self._world.sent):
                yield f"process {process.pid} told of {event.method} {event.req_id} without its intent"
            return
        row = next((r for r in self._rows.values() if (r.id, r.req_id) == (event.intent, event.req_id)), None)
        if row is None:
            yield f"process {process.pid} told of {event.intent}, which is in no journal"
        elif isinstance(event, Reply):
            if row.state != ACCEPTED:
                yield f"process {process.pid} told {row.id}/{row.part} as accepted, the journal: {row.state}"
            elif row.method in PLACING and event.result.get("order_id") != row.result.get("order_id"):
                yield f"process {process.pid} told {event.result}, the journal {row.result}"
        elif isinstance(event, Rejected) and row.state != REJECTED:
            yield f"process {process.pid} told {row.id}/{row.part} as rejected, the journal: {row.state}"

    def forgotten(self, last: Process, pending: set[tuple[str, int]]) -> Iterator[str]:
        """Reconcile tells of all that was open, and settles what can be settled."""
        told = {(event.intent, event.req_id) for event in last.told}
        for key in pending:
            row = self._rows.get(key)
            if row is None:
                yield f"intent {key} is gone"
                continue
            if (row.id, row.req_id) not in told:
                yield f"reconcile said nothing of {key} {row.method}"
            if row.pending:
                yield f"reconcile left {key} {row.method} {row.state}: {row.error}"
        for row in self._rows.values():
            if row.pending and (row.id, row.part) not in pending:
                yield f"{row.id}/{row.part} is {row.state} again"

    def fills(self) -> Iterator[str]:
        """No run tells of a fill twice, nor of one that there was not."""
        true = {line["exec_id"] for line in self._world.truth if line["event"] == "Settled"}
        for process in self._world.processes:
            for fill, times in process.fills.items():
                if times > 1:
                    yield f"process {process.pid} told of the fill {fill} {times} times"
                if fill not in true:
                    yield f"process {process.pid} told of the fill {fill}, which there was not"


def _has_come(sent: Sent | None, by_us: int) -> bool:
    return sent is not None and sent.arrived_us is not None and sent.arrived_us <= by_us
