"""What krakenws costs beside its rivals, all taking turns: the table of targets, and everything behind it.

    python benchmarks/run.py [--quick] [--only TEXT]… [--check] [--all]

Prints a report and, where everything was measured in full, writes it to benchmarks/RESULTS.md. README.md says
how it is measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.arena import HERE, arena
from benchmarks.books import Books
from benchmarks.environments import Environments
from benchmarks.latency import Latency
from benchmarks.peak import ManyBooks, Peak
from benchmarks.process import cpu_ns
from benchmarks.report import report
from benchmarks.session import Orders, Pings
from benchmarks.startup import OneOrder, Startup
from benchmarks.targets import HEADROOM, TARGETS, shown
from benchmarks.throughput import Iteration, Throughput
from benchmarks.turns import Turns

if TYPE_CHECKING:
    from benchmarks.arena import Arena
    from benchmarks.contest import Contest
    from benchmarks.targets import Row

RESULTS = HERE / "RESULTS.md"
SUB_REPORTS = ("codec.py", "rows.py", "sandbox.py")
CHECKS = 3
"""How often a row is looked at before the short form believes that it fails."""


class Sizes(NamedTuple):
    """How long a run takes.

    Attributes:
        rounds: how often every contest is held.
        flood_s: how long a flood keeps a contestant busy.
        paced_s: how long frames come at thousands a second; slow_s: at 150 a second.
        starts: how often a round starts each command.
        trips: questions in a turn of round trips.
        soak: updates of a thousand books.
    """

    rounds: int
    flood_s: float
    paced_s: float
    slow_s: float
    starts: int
    trips: int
    soak: int


FULL = Sizes(rounds=7, flood_s=0.35, paced_s=0.5, slow_s=2.5, starts=4, trips=100, soak=10_000_000)
QUICK = Sizes(rounds=3, flood_s=0.08, paced_s=0.2, slow_s=1.5, starts=2, trips=20, soak=1_000_000)


def contests(arena: Arena, sizes: Sizes) -> list[Contest]:
    """Return everything that can be measured."""
    originals = ("original", "original-blind")
    ours = ("raw", "transcript", "json")
    return [
        *(
            Throughput(arena, scheme, channel, (*contestants, "generator"), sizes.flood_s)
            for scheme, channel, contestants in (
                ("ws", "ticker", (*ours, "floor", "websocat", "plain", *originals)),
                ("ws", "trade", (*ours, "floor", "plain", "original-blind")),
                ("ws", "book-10", (*ours, "floor", "plain", *originals, "cryptofeed")),
                ("ws", "book-1000", ("raw", "json", "floor")),
                ("wss", "ticker", ("raw", "floor", "websocat", "plain", *originals)),
            )
        ),
        Throughput(
            arena, "wss", "ticker", ("raw", "floor", "websocat", *originals), sizes.flood_s, single=True
        ),
        *(
            Latency(arena, scheme, rate, ("raw", "floor", "websocat", *slow), sizes.paced_s)
            for scheme in ("ws", "wss")
            for rate, slow in ((5_000, ("original-blind",)), (50_000, ()))
        ),
        Iteration(
            arena,
            "ticker",
            ("krakenws", "krakenws, rows", "krakenws.sync", "websockets", "websockets, json.loads"),
            sizes.flood_s,
        ),
        Iteration(arena, "book-10", ("krakenws", "websockets"), sizes.flood_s),
        Latency(arena, "ws", 150, ("raw", "original"), sizes.slow_s),
        *(Books(arena, depth) for depth in (10, 1000)),
        Pings(arena, sizes.trips),
        Orders(arena, sizes.trips),
        Startup(arena, sizes.starts),
        OneOrder(arena, sizes.starts),
        *(Peak(arena, scheme, ("raw", "floor", "original"), 10_000) for scheme in ("ws", "wss")),
        ManyBooks(arena, sizes.soak),
    ]


def measure(rows: list[Row] | None, sizes: Sizes, environments: Environments) -> tuple[list[Contest], Turns]:
    """Measure what rows need, or everything."""
    with arena(environments) as place:
        held = contests(place, sizes)
        turns = Turns(held, rows)
        turns.run(sizes.rounds)
    return held, turns


def check() -> bool:
    """Hold the short form, which needs no rivals to be installed; tell whether it passes.

    A machine that does other things as well gives odd figures. So messages are counted against processor
    time, where the system tells, and a row has to be far off in every turn, again and again.
    """
    rows = [row.by_processor() if cpu_ns(os.getpid()) else row for row in TARGETS if row.short]
    for _ in range(CHECKS):
        _, turns = measure(rows, QUICK, Environments(enabled=False))
        wrong = []
        for row in rows:
            ratios = row.ratios(turns.values)
            is_wrong = row.is_far_off(ratios) if ratios else turns.has_broken(row)
            if is_wrong:
                wrong.append(row)
            if ratios or is_wrong:
                verdict = "FAR OFF" if is_wrong else "fine   "
                found = shown(ratios) if ratios else turns.reason(row)
                print(
                    f"{verdict}  {row.work}, {row.against}: {row.ours.measure} {found} {row.shown_target()}"
                )
        rows = wrong
        if not rows:
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure krakenws beside its rivals, in the same run.")
    parser.add_argument("--quick", action="store_true", help="less of everything; RESULTS.md stays as it is")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows that contain TEXT; the same")
    parser.add_argument(
        "--check", action="store_true", help="fail if a ratio is worse than half of its target"
    )
    parser.add_argument("--all", action="store_true", help="also run the sub-reports")
    chosen = parser.parse_args()
    if chosen.check:
        sys.exit(0 if check() else "a ratio is worse than half of its target")
    sizes = QUICK if chosen.quick else FULL
    rows = [row for row in (*TARGETS, *HEADROOM) if row.mentions(chosen.only)] if chosen.only else None
    held, turns = measure(rows, sizes, Environments())
    text = report(held, turns, sizes.rounds)
    print(text)
    if not chosen.quick and rows is None:
        RESULTS.write_text(text, encoding="utf-8")
    for name in SUB_REPORTS if chosen.all else ():
        print(f"## {name}\n", flush=True)
        subprocess.run([sys.executable, str(HERE / name)], check=True)
    if turns.failed:
        sys.exit("not everything could be measured")


if __name__ == "__main__":
    main()
