"""Histories with real processes: the installed command, SIGKILL, and a sandbox that misbehaves."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing, contextmanager
from random import Random
from shlex import split
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from krakenws.net.trading import ANSWERED, BEFORE_ROW, LEFT, ROW, SETTLED
from tests.history.judge import PLACING
from tests.support.command import DEADLINE_S, Command
from tests.support.cut import cut_at
from tests.support.sandbox import running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.sandbox import Sandbox

    Line = dict[str, Any]

POINTS = (BEFORE_ROW, ROW, LEFT, ANSWERED, SETTLED)
QUICKLY = {"KRAKENWS_ACK_TIMEOUT": "300ms", "KRAKENWS_LOOK_UPS": "100ms,400ms,1200ms"}
_LATER_NS = 17 * 60 * 10**9
_KILLED = -9


class Ended:
    """A run: what it was told to do, how it ended, and what it printed."""

    def __init__(self, words: list[str], code: int, out: str, err: str) -> None:
        self.words = words
        self.code = code
        self.err = err
        self.events: list[Line] = [json.loads(line) for line in out.splitlines() if line.endswith("}")]


class Bench:
    """A sandbox for histories, one after the other."""

    def __init__(self, sandbox: Sandbox, truth: Path) -> None:
        self.sandbox = sandbox
        self._truth = truth

    def faults(self, *rules: Line) -> None:
        """Switch all faults off, and these on."""
        url = self.sandbox.told["REST"] + "/sandbox/faults"
        for request in (
            Request(url, method="DELETE"),
            *([Request(url, json.dumps(rules).encode())] if rules else ()),
        ):
            with urlopen(request, timeout=DEADLINE_S) as answer:
                assert answer.status == 200

    def truth(self, after: int = 0) -> list[Line]:
        """Return the sandbox's own account, from a line on."""
        text = self._truth.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()[after:]
        return [json.loads(line) for line in lines]


@contextmanager
def bench(home: Path) -> Iterator[Bench]:
    """A new sandbox."""
    home.mkdir(exist_ok=True)
    truth = home / "truth.jsonl"
    with running(Command(home), "--pairs", "XBT/USD", "--rate", "2", "--truth", str(truth)) as sandbox:
        yield Bench(sandbox, truth)


class History:
    """One history, with a `state.db` of its own."""

    def __init__(self, place: Bench, seed: int) -> None:
        self._bench = place
        self._random = Random(seed)
        self._since = len(place.truth())
        self._command = place.sandbox.command
        state = self._command.home / f"state-{seed}"
        self._database = state / "krakenws" / "state.db"
        self._command.environ |= QUICKLY | {"XDG_STATE_HOME": str(state)}
        self.runs: list[Ended] = []

    def play(self) -> list[str]:
        """Play it; return what must not be."""
        random = self._random
        for at in range(random.randint(1, 3)):
            line = self._line()
            rules = [*self._rules(line.split()[0])]
            self._bench.faults(*rules)
            words = [*split(line), *(["--intent", f"name{at}"] if random.random() < 0.5 else [])]
            for _ in range(random.choice((1, 2)) if "--intent" in words else 1):
                self._run(words)
            if random.random() < 0.3:
                self._run(["reconcile"])
        self._bench.faults()
        for _ in range(20):  # the sandbox limits how often REST may be asked
            self._age()
            self._run(["reconcile"], gently=True)
            if self.runs[-1].code != 6 or not self._rows(
                "state IN ('open', 'unknown') AND method <> 'cancelAll'"
            ):
                break
        self._command.run("cancelAll", "-o", "json", XDG_STATE_HOME=str(self._command.home / "sweep"))
        return [*self._violations()]

    # ---- what happens

    def _placed(self) -> list[str]:
        truth = self._bench.truth(self._since)
        return [e["order"]["order_id"] for e in truth if e["event"] == "Accepted" and e["account"] == "demo"]

    def _line(self) -> str:
        random, placed = self._random, self._placed()
        kind = random.random()
        if kind < 0.5 or not placed:
            if random.random() < 0.4:
                return "addOrder pair=XBT/USD type=buy ordertype=market volume=0.001"
            return f"addOrder pair=XBT/USD type=buy ordertype=limit {self._amounts()}"
        order_id = random.choice(placed)
        if kind < 0.65:
            return f"amendOrder txid={order_id} limit_price={random.randint(30_000, 50_000)}.0"
        if kind < 0.8:
            return f"editOrder orderid={order_id} pair=XBT/USD {self._amounts()}"
        if kind < 0.95:
            return f"cancelOrder txid={','.join(placed[-2:])}"
        return "cancelAll"

    def _amounts(self) -> str:
        return f"price={self._random.randint(30_000, 50_000)}.0 volume=0.0{self._random.randint(10, 99)}"

    def _rules(self, method: str) -> Iterator[Line]:
        random = self._random
        fault = random.choice(("", "lose_answer", "accept_then_cut", "no_ack", "refuse"))
        if fault:
            error = {"error": "EGeneral:Internal error"} if fault == "refuse" else {}
            yield {"fault": fault, "method": method, **error}
        if random.random() < 0.3:
            yield {"fault": "rest_lag", "lag_s": random.choice((0.5, 2.0))}
        if random.random() < 0.2:
            yield random.choice(
                (
                    {"fault": "skip_sequence", "channel": "openOrders"},
                    {"fault": "reset", "channel": "ownTrades"},
                    {"fault": "mute", "channel": "openOrders"},
                    {"fault": "duplicate", "channel": "openOrders"},
                    {"fault": "drop", "channel": "openOrders"},
                )
            )

    def _run(self, words: list[str], *, gently: bool = False) -> None:
        random, command, timeout_s = self._random, self._command, DEADLINE_S
        if not gently and words[0] != "reconcile" and random.random() < 0.35:
            command = cut_at(command, random.choice(POINTS))
        elif not gently and random.random() < 0.25:
            timeout_s = random.uniform(0.05, 1.5)
        if not gently and words[0] == "addOrder" and random.random() < 0.15:
            words = [*words, "--follow"]
            timeout_s = min(timeout_s, random.uniform(0.3, 2.0))
        line = [*command.program, *words, "-o", "json"]
        started = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=command.environ,
            cwd=command.home,
        )
        try:
            out, err = started.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            started.kill()
            out, err = started.communicate()
        self.runs.append(Ended(words, started.returncode, out.decode(), err.decode()))

    def _rows(self, where: str = "1") -> list[Line]:
        if not self._database.exists():
            return []
        with closing(sqlite3.connect(self._database)) as database:
            database.row_factory = sqlite3.Row
            try:
                found = database.execute(f"SELECT * FROM intents WHERE {where}").fetchall()
            except sqlite3.OperationalError:  # killed before there was a table
                return []
        return [dict(row) for row in found]

    def _age(self) -> None:
        """Let open intents be older than anything that is on its way; of `cancelAll` the time is evidence."""
        if not self._rows():
            return
        with closing(sqlite3.connect(self._database)) as database:
            database.execute(
                "UPDATE intents SET created_ns = created_ns - ? WHERE state IN ('open', 'unknown')"
                " AND method <> 'cancelAll' AND created_ns > (SELECT MAX(created_ns) FROM intents) - ?",
                (_LATER_NS, _LATER_NS // 2),
            )
            database.commit()

    # ---- what must hold

    def _violations(self) -> Iterator[str]:
        truth = self._bench.truth(self._since)
        rows = self._rows()
        ended = {line["order_id"]: line for line in truth if line["event"] == "Ended"}
        placed = self._placed()
        yield from self._orders(rows, placed)
        for row in rows:
            if row["state"] in {"open", "unknown"} and row["method"] != "cancelAll":
                yield f"{_named(row)} is still {row['state']}: {self.runs[-1].err}"
            elif row["method"] == "cancelOrder" and row["state"] == "accepted":
                (order_id,) = json.loads(row["sent"])["txid"]
                if order_id not in ended or ended[order_id]["status"] != "canceled":
                    yield f"{_named(row)}: {order_id} was not cancelled"
            elif row["method"] == "amendOrder" and row["state"] == "accepted":
                yield from self._amended(row, truth)
        for run in self.runs:
            yield from self._told(run, rows)
            yield from _fills(run)

    @staticmethod
    def _orders(rows: list[Line], placed: list[str]) -> Iterator[str]:
        """Each order is one intent's, and each accepted intent's order is there."""
        placing = [row for row in rows if row["method"] in PLACING]
        if len(placed) > len(placing):
            yield f"{len(placed)} orders of {len(placing)} intents"
        owned = Counter(row["order_id"] for row in placing if row["state"] == "accepted")
        if set(owned) != set(placed) or any(times > 1 for times in owned.values()):
            yield f"orders {placed}, by the journal {dict(owned)}"

    @staticmethod
    def _amended(row: Line, truth: list[Line]) -> Iterator[str]:
        sent = json.loads(row["sent"])
        lines = [line for line in truth if line["event"] == "Amended" and line["order_id"] == sent["txid"]]
        if not lines:
            yield f"{_named(row)}: {sent['txid']} was never amended"

    @staticmethod
    def _told(run: Ended, rows: list[Line]) -> Iterator[str]:
        """What was printed is what the journal says, once; the exit code says the same."""
        told = [event for event in run.events if "outcome" in event]
        keys = Counter((event.get("intent"), event.get("req_id")) for event in told)
        for key, times in keys.items():
            if times > 1:
                yield f"{run.words} told of {key} {times} times"
        for event in told:
            row = next(
                (r for r in rows if (r["id"], r["req_id"]) == (event.get("intent"), str(event["req_id"]))),
                None,
            )
            if row is None:
                yield f"{run.words} told of what is in no journal: {event}"
            elif event["outcome"] == "accepted" and row["state"] != "accepted":
                yield f"{run.words} told accepted, the journal {row['state']}"
            elif event["outcome"] == "rejected" and row["state"] != "rejected":
                yield f"{run.words} told rejected, the journal {row['state']}"
        outcomes = {event["outcome"] for event in told}
        if run.code == _KILLED or run.words[0] == "reconcile" or "--follow" in run.words:
            return
        codes = {6} if "unknown" in outcomes else {3, 5} if "rejected" in outcomes else {0}
        if outcomes and run.code not in codes:
            yield f"{run.words} ended with {run.code} after {outcomes}"


def _fills(run: Ended) -> Iterator[str]:
    fills = Counter(
        row["exec_id"]
        for event in run.events
        if event.get("event") == "update" and event["channel"] == "ownTrades"
        for row in event["data"]
    )
    for fill, times in fills.items():
        if times > 1:
            yield f"{run.words} told of the fill {fill} {times} times"


def _named(row: Line) -> str:
    return f"{row['method']} {row['id']}/{row['part']} ({row['state']}, found {row['found']!r})"


def play(home: Path, seeds: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
    """Play histories in one sandbox; yield each seed, and what must not be."""
    with bench(home) as place:
        for seed in seeds:
            yield seed, History(place, seed).play()
