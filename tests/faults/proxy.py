"""A TCP proxy between a client and its exchange that does on purpose what networks do by accident.

Theory of this file
-------------------
A connection through the proxy has two `Flow`s, one `towards` each side. A flow reads what comes, stamps it,
and writes it piece by piece through the faults that are switched on, in the order in which they were. There
are four kinds:

    shape     when and in what portions bytes pass: Latency, Bandwidth, Sliced, Glued, Blackhole
    change    what passes: Corrupt
    cut       that the connection ends at a byte: Reset, Truncate, HalfClose
    instead   that somebody else answers: Instead, Page

Shapes last until they are switched off; the others strike `times` times, once unless told otherwise. Bytes
are counted by flow, from the moment at which a fault is switched on there: given before a client comes, from
the connection's first byte. A fault with a condition (`seen`, `passed`) waits for it: `switch_on(Reset(),
when=seen(b"snapshot"))`. Chance is drawn from the seed, each flow's own, so that timing changes nothing.

The proxy runs in a thread of its own, so that a test may steer it while a command runs. With `tls` it speaks
TLS to the client and what faults see is plain text; without, TLS passes as any bytes do. Without an upstream
it is an HTTP proxy that knows CONNECT.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    Condition = Callable[["Flow"], bool]

T = TypeVar("T")

CLIENT = "client"
EXCHANGE = "exchange"
BOTH = "both"
PATIENCE_S = 20.0
"""How long a test waits for what must happen, on a busy machine too."""
_READ_BYTES = 65536
_QUEUE = 256
_TAIL_BYTES = 4096


# ---- faults


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        towards: the flows it strikes: those towards CLIENT, EXCHANGE, or BOTH.
        times: how often it strikes; None for no end.
    """

    towards: str = CLIENT
    times: int | None = 1

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give what becomes of some bytes: nothing, unless a fault says otherwise."""
        yield data

    def __str__(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True, kw_only=True)
class Shape(Fault):
    """Lasts until it is switched off."""

    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class Latency(Shape):
    """Every byte comes `delay_s` later, and up to `jitter_s` more; in order, as TCP has it."""

    delay_s: float
    jitter_s: float = 0.0

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it when it is due, counted from when it came."""
        due = flow.came_at + self.delay_s + self.jitter_s * flow.random.random()
        await asyncio.sleep(due - time.monotonic())
        yield data


@dataclass(frozen=True, kw_only=True)
class Bandwidth(Shape):
    """So many bytes a second and no more."""

    bytes_per_s: int

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it in portions of a twentieth of a second."""
        portion = max(1, self.bytes_per_s // 20)
        for at in range(0, len(data), portion):
            piece = data[at : at + portion]
            yield piece
            await asyncio.sleep(len(piece) / self.bytes_per_s)


@dataclass(frozen=True, kw_only=True)
class Sliced(Shape):
    """Each write carries `size_bytes` and no more."""

    size_bytes: int = 1

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it in slices, each a segment of its own."""
        for at in range(0, len(data), self.size_bytes):
            yield data[at : at + self.size_bytes]
            await asyncio.sleep(0)


@dataclass(frozen=True, kw_only=True)
class Glued(Shape):
    """What comes within `hold_s` leaves in one write."""

    hold_s: float

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it with everything that came meanwhile."""
        await asyncio.sleep(self.hold_s)
        yield data + flow.take_waiting()


@dataclass(frozen=True, kw_only=True)
class Blackhole(Shape):
    """Nothing passes, no end either; what was sent comes when it is switched off, as TCP sends it again."""

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it at the end of the fault."""
        await switch.off.wait()
        yield data


@dataclass(frozen=True, kw_only=True)
class Corrupt(Fault):
    """One byte, number `at_byte`, has other bits: those of `mask`, or some that the seed draws."""

    at_byte: int = 0
    mask: int = 0

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give it with that byte changed."""
        at = switch.reached(flow, data, self.at_byte)
        if at is None:
            yield data
            return
        switch.strike(flow)
        wrong = data[at] ^ (self.mask or flow.random.randrange(1, 256))
        yield data[:at] + bytes([wrong]) + data[at + 1 :]


@dataclass(frozen=True, kw_only=True)
class Cutting(Fault):
    """The connection ends before byte number `at_byte`."""

    at_byte: int = 0

    async def pass_on(self, flow: Flow, switch: Switch, data: bytes) -> AsyncIterator[bytes]:
        """Give what comes before."""
        at = switch.reached(flow, data, self.at_byte)
        if at is None:
            yield data
            return
        if at:
            yield data[:at]
        switch.strike(flow)
        raise _CutError(self)

    def cut(self, flow: Flow) -> None:
        """End the connection in this fault's way."""
        raise NotImplementedError


class Reset(Cutting):
    """Both sides get a TCP reset."""

    def cut(self, flow: Flow) -> None:
        """Reset both."""
        flow.line.reset()


class Truncate(Cutting):
    """Both sides are told that the connection ended (FIN), as if all had been said."""

    def cut(self, flow: Flow) -> None:
        """End both."""
        for other in flow.line.flows:
            other.end_writing()


class HalfClose(Cutting):
    """This direction ends (FIN), the other goes on."""

    def cut(self, flow: Flow) -> None:
        """End one."""
        flow.end_writing()


@dataclass(frozen=True, kw_only=True)
class Instead(Fault):
    """Whatever a client says first is answered with `answer`, then comes the end; no exchange hears it."""

    answer: bytes


def page(status: int, *headers: str, body: str = "", times: int | None = 1) -> Instead:
    """Return the fault of a page that stands where an answer should be; the upgrade is refused."""
    html = body or f"<!DOCTYPE html><html><head><title>{status}</title></head><body>Cloudflare</body></html>"
    head = [f"HTTP/1.1 {status} Refused", f"Content-Length: {len(html)}", "Content-Type: text/html", *headers]
    return Instead(answer="\r\n".join([*head, "Connection: close", "", html]).encode(), times=times)


# ---- conditions


def seen(pattern: bytes, towards: str = CLIENT) -> Condition:
    """Return the condition that some bytes passed towards a side."""
    return lambda flow: flow.towards == towards and pattern in flow.tail


def passed(count: int, towards: str = CLIENT) -> Condition:
    """Return the condition that so many bytes passed towards a side."""
    return lambda flow: flow.towards == towards and flow.passed_bytes >= count


# ---- the proxy


class _CutError(Exception):
    """A fault ends a connection."""

    def __init__(self, fault: Cutting) -> None:
        self.fault = fault


class Strike(NamedTuple):
    """That a fault struck: when (wall clock, nanoseconds), which, and on which connection, from 1."""

    at_ns: int
    fault: str
    connection: int


class Switch:
    """A fault that was given to a proxy.

    Attributes:
        fault: which.
        when: what it waits for, None for nothing.
        is_live: whether it waits for nothing any more.
        left: how often it may strike yet, None for ever.
        off: set when it is over.
    """

    def __init__(self, fault: Fault, when: Condition | None, proxy: FaultProxy) -> None:
        self.fault = fault
        self.when = when
        self.is_live = when is None
        self.left = fault.times
        self.off = asyncio.Event()
        self._proxy = proxy
        self._counted: dict[Flow, int] = {}

    def heed(self, flow: Flow) -> None:
        """Go live if what it waits for has happened on a flow."""
        if not self.is_live and self.when is not None and self.when(flow):
            self.is_live = True
            if isinstance(self.fault, Shape):
                self._proxy.tell(self.fault, flow.line.number)

    def strikes(self, flow: Flow) -> bool:
        """Whether it has a say in what passes a flow now."""
        is_on = self.is_live and not self.off.is_set() and self.left != 0
        return is_on and self.fault.towards in {BOTH, flow.towards}

    def reached(self, flow: Flow, data: bytes, at_byte: int) -> int | None:
        """Return where in `data` the byte is that a fault waits for, and count what passed otherwise."""
        begin = self._counted.get(flow, 0)
        if self.left != 0 and begin <= at_byte < begin + len(data):
            return at_byte - begin
        self._counted[flow] = begin + len(data)
        return None

    def strike(self, flow: Flow) -> None:
        """Count a strike on a flow."""
        if self.left is not None:
            self.left -= 1
        self._counted.pop(flow, None)
        self._proxy.tell(self.fault, flow.line.number)


class Flow:
    """One direction of one connection.

    Attributes:
        line: the connection.
        towards: CLIENT or EXCHANGE.
        random: what faults draw from.
        came_at: when the bytes came that are being passed on, monotonic seconds.
        passed_bytes: how many were passed on.
        tail: the last of them.
    """

    def __init__(
        self, line: Line, towards: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.line = line
        self.towards = towards
        self.random = Random(f"{line.proxy.seed} {line.number} {towards}")
        self.came_at = 0.0
        self.passed_bytes = 0
        self.tail = b""
        self._reader = reader
        self._writer = writer
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)
        writer.transport.set_write_buffer_limits(1, 0)  # so that drained means sent

    async def run(self) -> None:
        """Pass on until this direction ends."""
        reading = asyncio.ensure_future(self._read())
        try:
            with suppress(OSError):
                await self._write()
        finally:
            reading.cancel()

    async def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError:
                data = b""
                if not self.line.is_dark:
                    self.line.reset()
            await self._waiting.put((time.monotonic(), data))

    async def _write(self) -> None:
        while True:
            self.came_at, data = await self._waiting.get()
            switches = self.line.proxy.switches
            try:
                async for piece in self._through([s for s in switches if s.strikes(self)], data):
                    if self._writer.transport.is_closing():
                        return
                    self._writer.write(piece)
                    await self._writer.drain()
                    self.passed_bytes += len(piece)
                    self.tail = (self.tail + piece)[-_TAIL_BYTES:]
            except _CutError as cut:
                cut.fault.cut(self)
                return
            if not data:
                self.end_writing()
                return
            for switch in switches:
                switch.heed(self)
            self.line.proxy.notify()

    async def _through(self, switches: Sequence[Switch], data: bytes) -> AsyncIterator[bytes]:
        if not switches:
            if data:
                yield data
            return
        first, rest = switches[0], switches[1:]
        if not data and not isinstance(first.fault, Blackhole):  # the end: only darkness can hide it
            async for piece in self._through(rest, data):
                yield piece
            return
        async for portion in first.fault.pass_on(self, first, data):
            async for piece in self._through(rest, portion):
                yield piece

    def take_waiting(self) -> bytes:
        """Return what came meanwhile, up to an end."""
        parts = []
        while self._waiting.qsize():
            came_at, data = self._waiting.get_nowait()
            if not data:  # the end, behind which nothing can be
                self._waiting.put_nowait((came_at, data))
                break
            parts.append(data)
        return b"".join(parts)

    def end_writing(self) -> None:
        """Say that nothing more comes; TLS of asyncio can only close."""
        with suppress(OSError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            else:
                self._writer.close()


class Line:
    """One connection through the proxy.

    Attributes:
        proxy: whose it is.
        number: which, from 1.
        flows: towards the exchange and towards the client.
    """

    def __init__(self, proxy: FaultProxy, number: int) -> None:
        self.proxy = proxy
        self.number = number
        self.flows: list[Flow] = []
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def is_dark(self) -> bool:
        """Whether something hides one side's doings from the other."""
        return any(
            isinstance(switch.fault, Blackhole) and any(switch.strikes(flow) for flow in self.flows)
            for switch in self.proxy.switches
        )

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end."""
        self._writers.append(writer)
        try:
            upstream = await self._begin(reader, writer)
            if upstream is not None:
                self._writers.append(upstream[1])
                self.flows = [
                    Flow(self, EXCHANGE, reader, upstream[1]),
                    Flow(self, CLIENT, upstream[0], writer),
                ]
                await asyncio.gather(*(flow.run() for flow in self.flows))
        except OSError:
            self.reset()
        finally:
            for each in self._writers:
                each.close()

    async def _begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return the connection to the exchange, unless somebody else answers."""
        head = b""
        if self.proxy.upstream is None:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return None
            self.proxy.heads.append(head.decode("ascii", "replace"))
        switch = next(
            (s for s in self.proxy.switches if isinstance(s.fault, Instead) and s.is_live and s.left != 0),
            None,
        )
        if switch is not None:
            assert isinstance(switch.fault, Instead)
            if not head:
                await reader.read(_READ_BYTES)
            if switch.left is not None:
                switch.left -= 1
            self.proxy.tell(switch.fault, self.number)
            writer.write(switch.fault.answer)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
                await reader.read()
            return None
        if self.proxy.upstream is not None:
            host, port = self.proxy.upstream
            return await asyncio.open_connection(host, port, ssl=self.proxy.upstream_tls)
        host, _, number = head.split()[1].decode().rpartition(":")
        upstream = await asyncio.open_connection(host.strip("[]"), int(number))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return upstream

    def reset(self) -> None:
        """Reset both sides."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class FaultProxy:
    """The proxy, seen from a test; made by `fault_proxy`.

    Attributes:
        upstream: host and port of the exchange; None: whatever a client's CONNECT names.
        seed: the same seed, the same draws.
        port: where it listens.
        heads: the CONNECT requests that came.
        connections: how many clients came.
        strikes: what struck, in order.
        switches: the faults it was given and that are not over.
    """

    def __init__(
        self,
        upstream: tuple[str, int] | None,
        seed: int,
        tls: ssl.SSLContext | None,
        upstream_tls: ssl.SSLContext | None,
    ) -> None:
        self.upstream = upstream
        self.upstream_tls = upstream_tls
        self.seed = seed
        self.heads: list[str] = []
        self.connections = 0
        self.strikes: list[Strike] = []
        self.switches: list[Switch] = []
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[Line] = set()
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.listen()

    # ---- what a test says

    @property
    def host(self) -> str:
        """Where it listens: host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address as the public endpoint."""
        return f"{'ws' if self._tls is None else 'wss'}://{self.host}"

    def switch_on(self, fault: Fault, when: Condition | None = None) -> Switch:
        """Switch a fault on, now or when a condition holds."""

        async def do() -> Switch:
            switch = Switch(fault, when, self)
            self.switches.append(switch)
            if when is None and isinstance(fault, Shape):
                self.tell(fault, 0)
            return switch

        return self._ask(do())

    def switch_off(self, switch: Switch | None = None) -> int:
        """Switch a fault off, or all of them; return when (wall clock, nanoseconds)."""

        async def do() -> int:
            for one in [switch] if switch else list(self.switches):
                one.off.set()
                self.switches.remove(one)
            return time.time_ns()

        return self._ask(do())

    def cut(self) -> int:
        """Reset every open connection now; return when (wall clock, nanoseconds)."""

        async def do() -> int:
            at_ns = time.time_ns()
            for line in self._lines:
                self.tell(Reset(), line.number)
                line.reset()
            return at_ns

        return self._ask(do())

    def deafen(self) -> None:
        """Listen no more: whoever comes is refused."""

        async def do() -> None:
            assert self._server is not None
            self._server.close()
            self._server = None

        self._ask(do())

    def listen(self) -> None:
        """Listen, again at the same port."""

        async def do() -> None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, ssl=self._tls, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]

        self._ask(do())

    def wait_for(self, condition: Callable[[FaultProxy], bool]) -> None:
        """Wait until something holds of the proxy; it is looked at whenever bytes pass or a fault strikes."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self), PATIENCE_S), f"{self.strikes} and no more"

    def stop(self) -> None:
        """End all connections and the thread."""

        async def do() -> None:
            if self._server is not None:
                self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # transports close in the loop's next turn

        self._ask(do())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    # ---- inside

    def _ask(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(self, self.connections)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._lines.add(line)
        self.notify()
        try:
            with suppress(asyncio.CancelledError):
                await line.run(reader, writer)
        finally:
            self._tasks.discard(task)
            self._lines.discard(line)

    def tell(self, fault: Fault, connection: int) -> None:
        """Note that a fault struck."""
        self.strikes.append(Strike(time.time_ns(), str(fault), connection))
        self.notify()

    def notify(self) -> None:
        """Let who waits look again."""
        with self._news:
            self._news.notify_all()


@contextmanager
def fault_proxy(
    upstream: str = "",
    *,
    seed: int = 1,
    tls: ssl.SSLContext | None = None,
    upstream_tls: ssl.SSLContext | None = None,
) -> Iterator[FaultProxy]:
    """Run a proxy before the exchange at `HOST:PORT`; without one, an HTTP proxy that knows CONNECT."""
    host, _, port = upstream.rpartition(":")
    proxy = FaultProxy((host, int(port)) if upstream else None, seed, tls, upstream_tls)
    try:
        yield proxy
    finally:
        proxy.stop()
