"""The least that a process between a pipe and a socket can do, in Python: what a session's order is held to.

    KRAKENWS_PRIVATE_URL=ws://… KRAKEN_WS_TOKEN=… python benchmarks/relay.py

A line `{"id":N,"do":"addOrder",…}` becomes a frame by putting other words around what is in it; what comes
back is passed on behind the id. It sleeps in `poll` as a loop must that also hears others. Nothing is looked
at: no JSON, no parameter, no rule, no secret, no UTF-8, no end of a connection.
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.sandbox import Socket


def main() -> None:
    exchange = Socket(os.environ["KRAKENWS_PRIVATE_URL"])
    head = f'{{"event":"addOrder","token":"{os.environ["KRAKEN_WS_TOKEN"]}",'
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(exchange.socket, select.POLLIN)
    while True:
        poll.poll()
        line = os.read(0, 65536).decode()
        if not line:
            return
        id_, _, order = line.removeprefix('{"id":').partition(',"do":"addOrder",')
        exchange.send(f'{head}{order.rstrip()[:-1]},"reqid":{id_}}}')
        poll.poll()
        answer = exchange.wait_for(b'"addOrderStatus"')
        os.write(1, f'{{"id":{id_},'.encode() + answer[answer.rfind(b"{") + 1 :] + b"\n")


if __name__ == "__main__":
    main()
