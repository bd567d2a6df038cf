"""What outlives a run and is shared between runs: each key's last nonce, and for `journal.py` the intents.

One SQLite file in write-ahead mode. Each method is one `BEGIN IMMEDIATE` transaction, so that it is atomic
between processes; none of them depends on what another process read before. A power cut may take the last
commits along: of nonces, which the clock replaces. Who cannot bear that asks for a `durable` state, whose
commits are on the disk when they return (`synchronous=FULL`), but for those that are said to be dispensable.

`PRAGMA user_version` counts the layouts: `_MIGRATIONS[n]` leads from layout n to n + 1.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from time import time_ns

from krakenws.errors import SinkError, StateLocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

PATIENCE_S = 5.0
"""How long another process may write."""
_OPENING = allocate_lock()
"""Nobody in this process has a lock on the file while it is made."""
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE nonces (key_id TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE attempts (at_s REAL NOT NULL)",
    ),
    ("DROP TABLE attempts",),
    (
        """CREATE TABLE intents (
            id TEXT NOT NULL,
            part INTEGER NOT NULL,
            named INTEGER NOT NULL,
            method TEXT NOT NULL,
            asked TEXT NOT NULL,
            sent TEXT NOT NULL,
            req_id TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            account TEXT NOT NULL,
            pid INTEGER NOT NULL,
            created_ns INTEGER NOT NULL,
            exposure TEXT NOT NULL,
            state TEXT NOT NULL,
            order_id TEXT NOT NULL,
            result TEXT NOT NULL,
            error TEXT NOT NULL,
            found TEXT NOT NULL,
            settled_ns INTEGER,
            PRIMARY KEY (id, part)
        )""",
        "CREATE INDEX intents_open ON intents (created_ns) WHERE state IN ('open', 'unknown')",
        "CREATE INDEX intents_created ON intents (created_ns)",
        "CREATE INDEX intents_orders ON intents (order_id) WHERE order_id <> ''",
    ),
    (
        """CREATE INDEX intents_over ON intents (created_ns)
            WHERE named = 0 AND state IN ('accepted', 'rejected', 'settled')""",
    ),
)


def next_nonce(key_id: str) -> int:
    """Return a new nonce for a key (`State.next_nonce`), in any thread."""
    state = State()
    try:
        return state.next_nonce(key_id, time_ns())
    finally:
        state.close()


class State:
    """The file `state.db`, opened when first needed. Every method raises `SinkError` when the file fails.

    An object belongs to the thread that first used it; processes may share the file freely. While another
    one writes, a transaction waits for `patience_s` and raises `StateLocked` then.
    """

    __slots__ = ("_database", "_durable", "_patience_s", "_syncs", "path")

    def __init__(
        self, directory: str | None = None, *, durable: bool = False, patience_s: float | None = None
    ) -> None:
        if directory is None:
            from krakenws.directories import state_dir

            directory = state_dir()
        self.path = os.path.join(directory, "state.db")
        self._durable = self._syncs = durable
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._database: sqlite3.Connection | None = None

    def next_nonce(self, key_id: str, now_ns: int) -> int:
        """Return a nonce above all earlier ones of that key: the time, or one more than the last.

        Args:
            key_id: names the API key without giving it away, see `net.rest.ApiKey.key_id`.
            now_ns: nanoseconds since 1970. Kraken never forgets a larger unit: keep it for the key's life.

        Source: auth.md section 3.
        """
        return self.transaction(lambda database: _next_nonce(database, key_id, now_ns))

    def close(self) -> None:
        """Close the file if it was opened; the next call opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def transaction(self, work: Callable[[sqlite3.Connection], T], *, dispensable: bool = False) -> T:
        """Return what `work` returns; what it wrote is committed then, and rolled back if it raises.

        Within `work`, another transaction is part of this one.

        Args:
            work: reads and writes.
            dispensable: a power cut may take what it wrote, until something indispensable is committed.
        """

        def commit(database: sqlite3.Connection) -> T:
            if database.in_transaction:
                return work(database)
            self._sync(database, self._durable and not dispensable)
            return _commit(database, work)

        return self.read(commit)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` reads with one statement of what is committed; it waits for no writer."""
        import sqlite3

        try:
            database = self._database = self._database or self._open()
            return work(database)
        except (sqlite3.Error, OSError) as error:
            raise _failure(self.path, error) from error

    def _sync(self, database: sqlite3.Connection, syncs: bool) -> None:
        if self._syncs != syncs:
            database.execute(f"PRAGMA synchronous = {'FULL' if syncs else 'NORMAL'}")
            self._syncs = syncs

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with _OPENING:
            _create(self.path)
            database = sqlite3.connect(self.path, timeout=self._patience_s, isolation_level=None)
        try:
            self._syncs = not self._durable
            self._sync(database, self._durable)
            if _layout(database) != len(_MIGRATIONS):
                self._migrate(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        import sqlite3

        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait here. Whoever holds the lock is switching the file to WAL, for us as well.
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
        database.execute("BEGIN IMMEDIATE")
        layout = _layout(database)  # read again: another process may have migrated meanwhile
        if layout > len(_MIGRATIONS):
            raise SinkError(
                f"{self.path} was made by a newer krakenws (layout {layout}, this one knows"
                f" {len(_MIGRATIONS)}): upgrade krakenws, or move that file away"
            )
        for statements in _MIGRATIONS[layout:]:
            for statement in statements:
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        database.execute("COMMIT")


def _create(path: str) -> None:
    """Make the file if it is not there: SQLite would make it for all to read; side files take its mode.

    A file that is there must not even be opened: closing it would drop the locks that other connections of
    this process have on it (POSIX has them go with any descriptor). Other processes would hold the file for
    unused then, and remove the log in which our rows are. Source: sqlite.org/howtocorrupt.html, 2.2.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
    except FileExistsError:
        return


def _commit(database: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    database.execute("BEGIN IMMEDIATE")
    try:
        result = work(database)
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return result


def _layout(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _next_nonce(database: sqlite3.Connection, key_id: str, now_ns: int) -> int:
    row = database.execute("SELECT last FROM nonces WHERE key_id = ?", (key_id,)).fetchone()
    nonce = max(now_ns, row[0] + 1) if row else now_ns
    database.execute("INSERT OR REPLACE INTO nonces VALUES (?, ?)", (key_id, nonce))
    return nonce


def _failure(path: str, error: Exception) -> SinkError:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StateLocked(f"{path} is locked by another program: end that program, then try again")
    return SinkError(_sentence(path, name, error))


def _sentence(path: str, name: str, error: Exception) -> str:
    """Say what is wrong with the file, and what mends it."""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"{path} is damaged: move it away, a new one will be made"
    if name.startswith("SQLITE_FULL"):
        return f"{path} could not be written because the disk is full: make room, then try again"
    if name.startswith(
        "SQLITE_IOERR"
    ):  # a full disk, too, when it is the index of the log that finds no room
        return f"{path} could not be read or written: see that its disk has room and is sound, then try again"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (
        f"{path} cannot be used ({reason.lower()}): make it and its directory writable,"
        " or name another place in XDG_STATE_HOME"
    )
