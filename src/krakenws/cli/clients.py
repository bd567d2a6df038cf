"""The clients of a session's socket: what is kept for those who do not read, and lines made once for all."""

from __future__ import annotations

from krakenws.errors import SinkError
from krakenws.sinks import Out
from krakenws.sinks.lines import Json
from krakenws.sinks.overflow import HoldingOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from krakenws.core.events import Update
    from krakenws.options import Options


class ClientOut(HoldingOut):
    """Keeps what a client does not take yet, and never waits for it: who lets too much pile up is cut."""

    __slots__ = ("_socket",)

    def __init__(self, client: socket.socket, name: str, options: Options) -> None:
        super().__init__(Out(client.fileno(), name), options)
        self._socket = client

    def flush(self) -> None:
        """Write as much as the client takes now."""
        kept = self._kept
        while kept:
            try:
                sent = self._socket.send(kept)
            except BlockingIOError:
                break
            except OSError as error:
                raise self.failure(error) from error
            del kept[:sent]
        self.behind = bool(kept) and (self.behind or len(kept) > self._full_bytes)

    def settle(self) -> None:
        """Write as much as the client takes now: nobody waits for it."""
        self.flush()

    def _wait(self, most_bytes: int) -> None:
        raise SinkError(f"{self.name} was cut: {len(self._kept)} bytes waited for it, where {most_bytes} may")


class Encoder:
    """Makes each line once, for all who are told it."""

    def __init__(self) -> None:
        self._json = Json(Out(-1))
        self._ns = -1
        self._lines: dict[Update, bytes] = {}

    def line(self, update: Update) -> bytes:
        """Return the line of an update; what one read brought is kept until the next."""
        if update.received_ns != self._ns:
            self._ns = update.received_ns
            self._lines.clear()
        line = self._lines.get(update)
        if line is None:
            line = self._lines[update] = self._json.line(update)
        return line


class SharedJson(Json):
    """The output of one of many clients."""

    def __init__(self, out: Out, encoder: Encoder) -> None:
        super().__init__(out, many=True)
        self._encoder = encoder

    def _update(self, update: Update, parts: list[bytes]) -> None:
        parts.append(self._encoder.line(update))
