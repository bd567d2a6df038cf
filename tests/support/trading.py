"""Trading without files and sockets: a ledger in memory, and the commands of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krakenws.core.catalog import bind, find
from krakenws.core.intents import IntentTakenError
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.net.trading import Trading
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krakenws.core.catalog import Bound
    from krakenws.core.inquiry import Question
    from krakenws.core.intents import Intent

ENDPOINT = "wss://exchange.test"


class Ledger:
    """The journal's rules, in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Intent] = {}

    def begin(self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None) -> None:
        if allow is not None:
            allow()
        for taken in {intent.id for intent in intents} & {name for name, _ in self.rows}:
            raise IntentTakenError(taken)
        self.rows |= {(intent.id, intent.part): intent for intent in intents}

    def settle(self, intent: Intent) -> Intent:
        if self.rows[intent.id, intent.part].pending:
            self.rows[intent.id, intent.part] = intent
        return self.rows[intent.id, intent.part]

    def of(self, name: str) -> list[Intent]:
        return [row for key, row in sorted(self.rows.items()) if key[0] == name]

    def pending(self) -> list[Intent]:
        return [row for row in self.rows.values() if row.pending]

    def since(self, since_ns: int) -> list[Intent]:
        return [row for row in self.rows.values() if row.created_ns >= since_ns]

    def claimed(self, order_ids: Iterable[str]) -> set[str]:
        return {str(row.result.get("order_id")) for row in self.rows.values()} & set(order_ids)


class Signals:
    """Signals that never come; `held` says whether they would have to wait."""

    def __init__(self) -> None:
        self.held = False

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


class Run:
    """A trading run whose time and exchange are a test's."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        ask: Callable[[Question], object] | None = None,
        name: str = "",
        account: str = "",
        checks: Sequence[Callable[[Bound], None]] = (),
        look_ups_s: tuple[float, ...] = (1.0, 2.0),
    ) -> None:
        self.notes: list[str] = []
        self.signals = Signals()
        options = Options(look_ups_s=look_ups_s)
        self.trading = Trading(
            options,
            ledger,
            self.signals,
            endpoint=ENDPOINT,
            account=account,
            ask=ask,
            note=self.notes.append,
            name=name,
            checks=checks,
        )
        self.protocol = ClientProtocol(V1, options, "private", jitter=lambda: 0.5)
        self.now = 0.0

    def add(self, line: str) -> list[int]:
        """Give a command; return the numbers of its requests."""
        method, *words = line.split()
        entry = find(ENTRIES, method)
        assert entry is not None
        numbers = []
        for command in self.trading.prepare(bind(entry, words)):
            numbers.append(self.protocol.request(command.bound, self.now))
            self.trading.expect(command, numbers[-1])
        return numbers

    def open(self) -> list[bytes]:
        """Connect; return the frames that leave."""
        self.protocol.connecting(self.now)
        self.protocol.opened(self.now, "token")
        self.protocol.receive([b'{"event":"systemStatus","status":"online","version":"1"}'], 0, self.now)
        return self.leave()

    def leave(self) -> list[bytes]:
        """Let leave what is to leave, as the loop does."""
        self.trading.leave(self.protocol)
        return self.protocol.frames_to_send()
