"""One history in memory: some commands, each with its own misfortunes, then time, then `reconcile`."""

from __future__ import annotations

from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from krakenws.net.trading import ANSWERED, BEFORE_ROW, LEFT, ROW, SETTLED
from tests.history.judge import violations
from tests.history.world import MID_FRAMES, PRINTING, Process, played

if TYPE_CHECKING:
    from tests.history.world import World

POINTS = (BEFORE_ROW, ROW, MID_FRAMES, LEFT, ANSWERED, SETTLED, PRINTING)
LATER_S = 17 * 60.0
"""When nothing can be on its way any more (`core.inquiry.AGED_NS`)."""


class Author:
    """Makes up what users do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self._names = 0

    def play(self) -> None:
        """Let some runs happen, one after the other or at once."""
        for _ in range(self.random.randint(1, 5)):
            lines, name = self._lines(), ""
            if len(lines) == 1 and self.random.random() < 0.5:
                self._names += 1
                name = f"name{self._names}"
            uses = self.random.choice((1, 2, 3)) if name else 1
            for _ in range(uses):
                self._use(lines, name)

    def _use(self, lines: list[str], name: str) -> None:
        world, random = self.world, self.random
        keyed, follows = random.random() < 0.8, random.random() < 0.3 and lines[0].startswith("addOrder")
        dies_at = (random.choice(POINTS), random.choice((0, 0, 1))) if random.random() < 0.4 else ("", 0)
        process = Process(
            world,
            lines,
            name=name,
            keyed=keyed,
            follows=follows and len(lines) == 1,
            dies_at=dies_at,
        )
        if follows or random.random() < 0.2:
            world.at(world.now + random.choice((0.1, 1.0, 8.0, 60.0)) * random.random(), process.kill)
        other = random.random()
        if other < 0.1:
            world.run(random.random() * 8)
            Process(world)  # reconciles what another process still waits for
        elif other < 0.2 and name:
            world.run(random.random() * 0.2)
            Process(world, lines, name=name)
        world.run()
        if random.random() < 0.3:
            Process(world, keyed=keyed)
            world.run()
        world.run(random.choice((0.0, 0.3, 3.0, 70.0)))

    # ---- lines

    def _lines(self) -> list[str]:
        return [self._line() for _ in range(self.random.choice((1, 1, 1, 2)))]

    def _line(self) -> str:
        placed = [line["order"]["order_id"] for line in self.world.truth if _is_placed(line)]
        ended = {line["order_id"] for line in self.world.truth if line["event"] == "Ended"}
        open_ = [order_id for order_id in placed if order_id not in ended]
        kind = self.random.random()
        if kind < 0.4 or not placed:
            return self._add()
        order_id = self.random.choice(open_ if open_ and self.random.random() < 0.9 else placed)
        if kind < 0.55:
            what = self.random.choice((f"limit_price={self._price()}", f"volume={self._volume()}"))
            return f"amendOrder txid={order_id} {what}"
        if kind < 0.7:
            return f"editOrder orderid={order_id} pair=XBT/USD price={self._price()} volume={self._volume()}"
        if kind < 0.92:
            some = self.random.sample(placed, min(len(placed), self.random.choice((1, 1, 2, 3))))
            return f"cancelOrder txid={','.join([order_id, *(other for other in some if other != order_id)])}"
        return "cancelAll"

    def _add(self) -> str:
        random = self.random
        side = random.choice(("buy", "sell"))
        line = f"addOrder pair=XBT/USD type={side} volume={self._volume()}"
        if random.random() < 0.3:
            return f"{line} ordertype=market"  # fills at once
        bid, ask = self.world.exchange.best()
        away = random.choice(("0.5", "0.9", "0.999", "1.01"))
        price = float(bid) * float(away) if side == "buy" else float(ask) / float(away)
        line += f" ordertype=limit price={price:.1f}"
        mark = random.random()
        if mark < 0.1:
            return f"{line} userref={random.randint(1, 2)}"  # more than one order may bear it
        if mark < 0.15:
            return f"{line} cl_ord_id=mine-{random.randrange(100)}"
        if mark < 0.25:
            return f"{line} timeinforce=IOC"
        if mark < 0.3:
            return f"{line} volume=900".replace(f"volume={line.split('volume=')[1].split()[0]} ", "")
        return line

    def _price(self) -> str:
        return f"{self.random.randint(30_000, 60_000)}.{self.random.randrange(10)}"

    def _volume(self) -> str:
        return f"0.0{self.random.randint(1, 30):03}"


def _is_placed(line: dict[str, object]) -> bool:
    return line["event"] in {"Accepted", "Scheduled"} and line.get("account") == "demo"


def play(seed: int) -> list[str]:
    """Play the history of a seed; return what of it must not be, nothing if all is well."""
    random = Random(seed)
    with TemporaryDirectory(dir=_memory()) as directory, played(random, directory) as world:
        world.rest_fails = random.choice((0.0, 0.0, 0.3))
        if random.random() < 0.5:
            world.venue.faults.add([{"fault": "rest_lag", "lag_s": random.choice((1.5, 10, 60))}], world.now)
        Author(world).play()
        world.calm = True
        world.venue.faults.clear()
        world.run(LATER_S)
        pending = {row[:2] for row in world.rows("WHERE state IN ('open', 'unknown')")}
        last = Process(world)
        world.run()
        return violations(world, last, pending)


def _memory() -> str | None:
    """Return a directory in memory, if there is one: a commit then costs no disk."""
    from pathlib import Path

    return "/dev/shm" if Path("/dev/shm").is_dir() else None
