"""The journal of intents in `state.db`: what was about to be sent to trade, on the disk before it left.

A row outlives the process that wrote it, so that no order is forgotten; its key is unique, so that no two
processes send what bears one name. An intent is one command as typed. A cancel of several orders leaves as
several requests, the *parts* of one intent, whose rows are written together or not at all.

Parameters are kept as typed and as sent, tokens never.

A row has to survive a power cut before its frame leaves. Its verdict may be lost to one, which spares each
order an fsync: it is then an open intent again, which is looked for like any other.

Rows with a verdict are removed after `KEPT_NS`. Those that the user named stay, as a name that was forgotten
would be sent again.
"""

from __future__ import annotations

from json import dumps, loads

from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, SETTLED, UNKNOWN, Intent, IntentTakenError
from krakenws.errors import SinkError, StateLocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any

    from krakenws.state import State

_PENDING = f"state IN ('{OPEN}', '{UNKNOWN}')"
KEPT_NS = 90 * 86400 * 1_000_000_000
_OVER = f"state IN ('{ACCEPTED}', '{REJECTED}', '{SETTLED}')"
_PRUNE = (
    "DELETE FROM intents WHERE rowid IN ("  # noqa: S608 - as below
    f"SELECT rowid FROM intents WHERE named = 0 AND {_OVER} AND created_ns < ? LIMIT 100)"
)
_SETTLE = (
    "UPDATE intents SET state = ?, order_id = ?, result = ?, error = ?, found = ?, settled_ns = ?"  # noqa: S608
    f" WHERE id = ? AND part = ? AND {_PENDING}"  # values are bound, names are of this module
)


class Journal:
    """The intents in `state.db`.

    Every method raises `SinkError` when the file fails. Reading waits for nobody who writes.

    Args:
        state: a durable one.
    """

    __slots__ = ("_state",)

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def locked(self) -> bool:
        """Whether another program keeps the file from being written now."""
        try:
            self._state.transaction(lambda _: None, dispensable=True)
        except SinkError as error:
            return isinstance(error, StateLocked)
        return False

    def begin(
        self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None, instead_of: str = ""
    ) -> None:
        """Write intents, all or none; they are on the disk when this returns.

        Args:
            intents: what is about to leave.
            allow: raises what forbids it. It reads this journal as no other process can change it before the
                rows are in: two that look at the same time cannot both be allowed the last place.
            instead_of: an intent whose row goes, if it has a verdict.

        Raises:
            IntentTakenError: one of the names is taken.
        """
        rows = [_row(intent) for intent in intents]
        old_ns = intents[0].created_ns - KEPT_NS

        def insert(database: sqlite3.Connection) -> None:
            for name in {intent.id for intent in intents}:
                if database.execute("SELECT 1 FROM intents WHERE id = ?", (name,)).fetchone():
                    raise IntentTakenError(name)
            if allow is not None:
                allow()
            database.execute(_PRUNE, (old_ns,))
            if instead_of:
                query = f"DELETE FROM intents WHERE id = ? AND {_OVER}"  # noqa: S608 - as below
                database.execute(query, (instead_of,))
            database.executemany(f"INSERT INTO intents VALUES ({_marks(rows[0])})", rows)  # noqa: S608 - as below

        self._state.transaction(insert)

    def settle(self, intent: Intent) -> Intent:
        """Write what became of an intent, and return what stands: a verdict that is there already stays."""
        values = (
            intent.state,
            str(intent.result.get("order_id", "")),
            _json(intent.result),
            intent.error,
            intent.found,
            intent.settled_ns,
            intent.id,
            intent.part,
        )
        if self._state.transaction(
            lambda database: database.execute(_SETTLE, values).rowcount, dispensable=True
        ):
            return intent
        return next((row for row in self.of(intent.id) if row.is_same(intent)), intent)

    def of(self, name: str) -> list[Intent]:
        """Return the parts of an intent, in order; none if the name was never used."""
        return self._select("WHERE id = ? ORDER BY part", (name,))

    def pending(self) -> list[Intent]:
        """Return the intents of which nobody knows yet what became of them, oldest first."""
        return self._select(f"WHERE {_PENDING} ORDER BY created_ns, id, part")

    def last(self, count: int) -> list[Intent]:
        """Return the last intents, oldest first."""
        return self._select("ORDER BY created_ns DESC, id DESC, part DESC LIMIT ?", (count,))[::-1]

    def since(self, since_ns: int) -> list[Intent]:
        """Return the intents from a time on (nanoseconds since 1970), oldest first."""
        return self._select("WHERE created_ns >= ? ORDER BY created_ns, id, part", (since_ns,))

    def look_up(
        self,
        columns: Sequence[str],
        *,
        methods: Collection[str],
        states: Collection[str],
        of: tuple[str, str],
        since_ns: int,
        newest: int | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return some columns of some rows, newest first: a policy asks of each order, and days have many.

        Args:
            columns: names of `Intent`; what is a mapping there is JSON text here.
            methods: only these commands,
            states: in one of these states,
            of: of this endpoint and account, as `Intent.is_of` has it,
            since_ns: from this time on.
            newest: at most so many.
        """
        endpoint, account = of
        query = (
            f"SELECT {','.join(columns)} FROM intents WHERE created_ns >= ?"  # noqa: S608 - as below
            f" AND method IN ({_marks(methods)}) AND state IN ({_marks(states)})"
            " AND endpoint = ? AND (account IN ('', ?) OR ? = '') ORDER BY created_ns DESC LIMIT ?"
        )
        limit = -1 if newest is None else newest
        values = (since_ns, *methods, *states, endpoint, account, account, limit)
        return self._state.read(lambda database: database.execute(query, values).fetchall())

    def claimed(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of some orders that are known to be an intent's."""
        wanted = list(order_ids)

        def select(database: sqlite3.Connection) -> set[str]:
            # The condition beside it lets SQLite use the index.
            query = f"SELECT order_id FROM intents WHERE order_id <> '' AND order_id IN ({_marks(wanted)})"  # noqa: S608
            return {row[0] for row in database.execute(query, wanted)}

        return self._state.read(select) if wanted else set()

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._state.close()

    def _select(self, clause: str, values: tuple[object, ...] = ()) -> list[Intent]:
        query = f"SELECT {','.join(_COLUMNS)} FROM intents {clause}"  # noqa: S608 - of this module's own text
        return self._state.read(
            lambda database: [_intent(row) for row in database.execute(query, values).fetchall()]
        )


_COLUMNS: tuple[str, ...] = Intent.__match_args__


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))


def _json(value: Mapping[str, Any]) -> str:
    return dumps(dict(value), separators=(",", ":"))


def _row(intent: Intent) -> tuple[object, ...]:
    fields = [getattr(intent, name) for name in _COLUMNS]
    order_id_at = _COLUMNS.index("state") + 1
    fields.insert(order_id_at, "")
    fields[_COLUMNS.index("req_id")] = str(intent.req_id)  # up to 2^64, which SQLite has no integer for
    return tuple(_json(field) if hasattr(field, "keys") else field for field in fields)


def _intent(row: Sequence[Any]) -> Intent:
    values = dict(zip(_COLUMNS, row, strict=True))
    for name in ("asked", "sent", "exposure", "result"):
        values[name] = loads(values[name])
    values["named"] = bool(values["named"])
    values["req_id"] = int(values["req_id"])
    return Intent(**values)
