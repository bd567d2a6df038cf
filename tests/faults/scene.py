"""The stage of a row: the installed command, a sandbox exchange, and a proxy between them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import Request, urlopen

from tests.faults.proxy import PATIENCE_S, FaultProxy, Shape, fault_proxy
from tests.support.command import ROOT, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.faults.proxy import Condition, Fault, Switch
    from tests.faults.truth import Event
    from tests.support.command import Process, Result

T = TypeVar("T")

PAIRS = ("XBT/USD", "ETH/USD")
LONG_S = 40.0
"""How long a row waits for one thing: longer than anything takes."""
FEEDS = "trade XBT/USD ETH/USD + book XBT/USD ETH/USD"


def wait_until(condition: Callable[[], T]) -> T:
    """Look again and again until a condition holds; return what it gave."""
    until = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not (given := condition()):
        assert time.monotonic() < until, "it never came true"
        pause.wait(0.02)
    return given


class Sandbox:
    """An exchange of its own process, lively, with a truth file.

    Attributes:
        public, private, rest: its endpoints.
        host: host and port.
    """

    def __init__(self, process: Process, truth: Path) -> None:
        self._process = process
        self._truth = truth
        told = dict(process.line().partition(": ")[::2] for _ in range(5))
        self.public, self.private, self.rest = told["public"], told["private"], told["REST"]
        self.host = self.public.removeprefix("ws://")
        self.key = {"KRAKEN_API_KEY": told["API key"], "KRAKEN_API_SECRET": told["API secret"]}

    def _faults(self, method: str, spec: object = None) -> Any:
        data = None if spec is None else json.dumps(spec).encode()
        with urlopen(
            Request(f"{self.rest}/sandbox/faults", data, method=method), timeout=PATIENCE_S
        ) as answer:
            return json.load(answer)

    def fault(self, name: str, **fields: object) -> None:
        """Switch a fault of the exchange on."""
        self._faults("POST", {"fault": name, **fields})

    def recover(self) -> None:
        """Switch every fault off."""
        self._faults("DELETE")

    def truth(self, since: int = 0, about: bytes = b"") -> list[Event]:
        """Return the whole lines of its account from a byte on, those that contain `about`."""
        with self._truth.open("rb") as file:
            file.seek(since)
            whole, _, _ = file.read().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines() if about in line]

    def settled(self, since: int = 0) -> set[str]:
        """Return the ids of the user's fills from a byte of its account on."""
        return {entry["exec_id"] for entry in self.truth(since, b'"Settled"')}

    def told(self) -> int:
        """Return how long its account is by now, in bytes, whole lines."""
        size = self._truth.stat().st_size
        with self._truth.open("rb") as file:
            file.seek(max(0, size - 65536))
            return size - len(file.read().rpartition(b"\n")[2])

    def stop(self) -> None:
        """Freeze it, as `kill -STOP` does: the kernel still answers for it."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it without a farewell."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.finish()


@contextmanager
def run_sandbox(home: Path, *words: str, pairs: tuple[str, ...] = PAIRS) -> Iterator[Sandbox]:
    """Run a sandbox on any free port, with some pairs or, if none are named, all."""
    home.mkdir(exist_ok=True)
    truth = home / "truth.jsonl"
    options = ["--listen", "127.0.0.1:0", "--rate", "100", "--truth", str(truth)]
    if pairs:
        options += ["--pairs", ",".join(pairs)]
    with Command(home, covered=False).start("sandbox", *options, *words) as process:
        yield Sandbox(process, truth)


class Stream:
    """A running command, whose events are read one by one and kept."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.events: list[Event] = []

    def event(self, until: float = float("inf")) -> Event:
        """Return the next event, which must come before a time."""
        assert time.monotonic() < until, f"still not: {[event['event'] for event in self.events][-20:]}"
        event: Event = json.loads(self.process.line())
        self.events.append(event)
        return event

    def until(self, name: str, **fields: object) -> Event:
        """Return the next event of a name, and with some fields."""
        until = time.monotonic() + LONG_S
        while True:
            event = self.event(until)
            if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                return event

    def proves(self, symbol: str) -> None:
        """Wait until a pair's book is there and verified: each begins in its own time."""
        self.until("update", channel="book", symbol=symbol, trust="verified")

    def data(self, *channels: str, times: int = 1) -> None:
        """Wait until each channel has had so many data messages, from now on."""
        left = dict.fromkeys(channels or ("trade", "book"), times)
        until = time.monotonic() + LONG_S
        while any(count > 0 for count in left.values()):
            event = self.event(until)
            if event["event"] == "update" and event["type"] == "update" and event["channel"] in left:
                left[event["channel"]] -= 1

    def flows_on(self) -> None:
        """Wait until the connection stands again, the gap is told, and every channel has had new data."""
        self.until("connected")
        self.data()


class Scene:
    """What a row plays on, and what came of it.

    Attributes:
        home: the command's home.
        command: the installed command.
        program: what plays the row: the same, unless somebody stands in for it.
        sandbox: the exchange.
        proxy: between them, at `url`.
        certificates: for TLS on loopback.
        result: how the command ended.
        struck_ns: when the fault struck, wall clock; 0 while it has not.
        mended_ns: when it was over.
    """

    feeds = FEEDS
    is_json = True
    """Whether stdout carries JSON events that can be judged."""

    def __init__(self, home: Path, sandbox: Sandbox, proxy: FaultProxy, certificates: Certificates) -> None:
        self.home = home
        self.command = Command(home, covered=False)
        self.command.environ |= sandbox.key
        self.program = self.command
        self.sandbox = sandbox
        self.proxy = proxy
        self.certificates = certificates
        self.result: Result | None = None
        self.struck_ns = self.mended_ns = 0
        self._accounts = [(sandbox, sandbox.told())]

    @property
    def truth(self) -> list[Event]:
        """The account of every exchange the row has used, since it began."""
        return [entry for sandbox, since in self._accounts for entry in sandbox.truth(since)]

    @property
    def fills(self) -> set[str]:
        """The ids of the user's fills since the row began."""
        return {fill for sandbox, since in self._accounts for fill in sandbox.settled(since)}

    @property
    def words(self) -> str:
        """Where people read what went wrong."""
        return self.result.err if self.result is not None else ""

    def move_to(self, sandbox: Sandbox) -> None:
        """Put another exchange behind the proxy."""
        self.sandbox = sandbox
        self._accounts.append((sandbox, 0))
        host, _, port = sandbox.host.rpartition(":")
        self.proxy.upstream = host, int(port)

    @contextmanager
    def secured(self) -> Iterator[None]:
        """Speak TLS to the client, with a certificate of a private authority."""
        with fault_proxy(self.sandbox.host, tls=self.certificates.server) as self.proxy:
            yield

    @property
    def endpoints(self) -> list[str]:
        """The options that lead through the proxy; REST goes past it."""
        url = self.proxy.url
        return ["--public-url", url, "--private-url", f"{url}/auth", "--rest-url", self.sandbox.rest]

    # ---- the command

    @contextmanager
    def stream(self, words: str = FEEDS, *options: str, **environ: str) -> Iterator[Stream]:
        """Follow feeds as JSON; when the row has not ended it, it is told to end."""
        line = [*words.split(), "-ojson", *self.endpoints, *options]
        with self.program.start(*line, environ=environ) as process:
            stream = Stream(process)
            yield stream
            if self.result is None:
                process.terminate()
                self.result = process.finish()

    def run(self, words: str, *options: str, **environ: str) -> Result:
        """Run a command to its end, as JSON."""
        self.result = self.program.run(*words.split(), "-ojson", *self.endpoints, *options, **environ)
        return self.result

    def shell(self, line: str, **environ: str) -> Result:
        """Run a line of Bash in which `$KRAKENWS` is what plays and `$TO` the options that lead here."""
        self.result = self.program.shell(line, TO=" ".join(["-ojson", *self.endpoints]), **environ)
        return self.result

    def trade(self, words: str) -> Result:
        """Run a trading command past the proxy, as another program of the same user does."""
        sandbox = self.sandbox
        endpoints = ["--private-url", sandbox.private, "--rest-url", sandbox.rest]
        result = self.command.run(*words.split(), "-ojson", *endpoints)
        assert result.code == 0, result.err
        return result

    # ---- the fault

    def strike(self) -> None:
        """Say that it strikes now."""
        self.struck_ns = self.mended_ns = time.time_ns()

    def mend(self) -> None:
        """Say that it is over."""
        self.mended_ns = time.time_ns()

    def network(self, fault: Fault, when: Condition | None = None) -> Switch:
        """Switch a fault of the network on, and note when it struck."""
        so_far = len(self.proxy.strikes)
        switch = self.proxy.switch_on(fault, when)
        if when is None or not isinstance(fault, Shape):
            self.proxy.wait_for(lambda proxy: len(proxy.strikes) > so_far)
            self.struck_ns = self.mended_ns = self.proxy.strikes[so_far].at_ns
        return switch

    def mend_network(self) -> None:
        """Switch the network's faults off."""
        self.mended_ns = self.proxy.switch_off()

    def exchange(self, fault: str, **fields: object) -> None:
        """Switch a fault of the exchange on, and wait until it has struck."""
        self.sandbox.fault(fault, **fields)
        self.struck_ns = self.mended_ns = self.struck_by(fault)

    def struck_by(self, fault: str) -> int:
        """Wait until a fault of the exchange has struck, and return when."""

        def strike() -> int:
            return next(
                (e["time_us"] * 1000 for e in self.truth if e["event"] == "Fault" and e["fault"] == fault), 0
            )

        return wait_until(strike)


class SessionScene(Scene):
    """The same stage for a session: feeds are its first lines, a command its only one."""

    @property
    def words(self) -> str:
        """Its answers say what is wrong with a line."""
        return super().words + (self.result.out if self.result is not None else "")

    @contextmanager
    def stream(self, words: str = FEEDS, *options: str, **environ: str) -> Iterator[Stream]:
        """Follow feeds in a session; when the row has not ended it, it is told to end."""
        with self.command.start("session", *self.endpoints, *options, environ=environ) as process:
            process.send(_lines(words))
            stream = Stream(process)
            yield stream
            if self.result is None:
                process.terminate()
                self.result = process.finish()

    def run(self, words: str, *options: str, **environ: str) -> Result:
        """Give a session one line, and end its input."""
        self.result = self.command.run("session", *self.endpoints, *options, stdin=_lines(words), **environ)
        return self.result


class ApiScene(Scene):
    """The same stage for a program of the Python API."""

    words_for_it: tuple[str, ...] = ()

    def __init__(self, home: Path, sandbox: Sandbox, proxy: FaultProxy, certificates: Certificates) -> None:
        super().__init__(home, sandbox, proxy, certificates)
        self.program = Command(home, covered=False)
        self.program.environ = self.command.environ
        self.program.program = [sys.executable, str(ROOT / "tests/faults/program.py"), *self.words_for_it]


class SyncScene(ApiScene):
    """The same for one of `krakenws.sync`."""

    words_for_it = ("--sync",)


def _lines(words: str) -> str:
    return "".join(f"{feed.strip()}\n" for feed in words.split(" + "))


@contextmanager
def stage(
    home: Path, sandbox: Sandbox, certificates: Certificates, kind: type[Scene] = Scene
) -> Iterator[Scene]:
    """Set a row's stage, on an exchange that is well."""
    sandbox.recover()
    with fault_proxy(sandbox.host) as proxy:
        try:
            yield kind(home, sandbox, proxy, certificates)
        finally:
            sandbox.recover()
