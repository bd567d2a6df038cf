"""A byte stream to the exchange that never blocks: TCP, a proxy if the environment names one, TLS.

Phases: connecting (the next address is tried beside the first after a short while, RFC 8305 in small) → proxy
→ TLS → open. TLS runs through `ssl.MemoryBIO`, so that all records of one `recv` leave together. The
certificate is always checked: against the system's hashed directory, which loads only what it needs, and once
more against the whole bundle before it is called bad (stack.md: 20 ms at each start).
"""

from __future__ import annotations

import errno
import socket

from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.poller import READ, WRITE
from krakenws.net.target import name_of, proxy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence
    from typing import Any

    from krakenws.net.target import Address, Target

_READ_BYTES = 65536
_NEXT_ADDRESS_S = 0.3
_CONNECTING = "connecting"
_PROXY = "proxy"
_TLS = "tls"
_OPEN = "open"


def load_tls(target: Target) -> None:
    """Load what a connection to a target will need, 8 ms; call it where there is nothing to do but wait."""
    if target.secure:
        import ssl  # noqa: F401 - loaded is all it should be


class Transport:
    """One connection. Call `advance` until it gives True, then `read` and `write`.

    Attributes:
        cause: why `read` ended, for people; "" while it has not.
    """

    def __init__(
        self,
        target: Target,
        addresses: Sequence[Address],
        cafile: str | None,
        environ: Mapping[str, str],
        now: float,
    ) -> None:
        """Begin to connect to the first of `addresses`, as `resolve` gives them.

        Raises:
            ConnectionFailed: no address can even be tried.
            UsageError: the proxy or the file of authorities cannot be used.
        """
        self.cause = ""
        self._target = target
        self._cafile = cafile
        self._environ = environ
        self._proxy = proxy_of(target, environ)
        self._phase = _CONNECTING
        self._resolved = addresses
        self._addresses = list(addresses)
        self._trying: list[socket.socket] = []
        self._next_at: float | None = now
        self._refusal = ""
        self._socket: socket.socket | None = None
        self._reading: Sequence[tuple[socket.socket, int]] = ()
        self._writing: Sequence[tuple[socket.socket, int]] = ()
        self._out = bytearray()
        self._head = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming: ssl.MemoryBIO | None = None
        self._outgoing: ssl.MemoryBIO | None = None
        self._whole_store = False
        self.advance(now)
        if target.secure:  # while the connection is under way
            try:
                self._prepare_tls()
            except UsageError:
                self.close()
                raise

    # ---- what to wait for

    def watched(self) -> Sequence[tuple[socket.socket, int]]:
        """Return the sockets to wait for, each with `READ` and `WRITE` as needed.

        While nothing changes it is the same object, which `Poller.watch` takes without work.
        """
        if self._socket is None:
            return [(sock, WRITE) for sock in self._trying]
        return self._writing if self._out else self._reading

    @property
    def next_deadline(self) -> float | None:
        """When `advance` wants to try the next address, or None."""
        return self._next_at if self._phase == _CONNECTING and self._addresses else None

    # ---- connecting

    def advance(self, now: float) -> bool:
        """Go on connecting as far as possible; return whether bytes can flow.

        Raises:
            ConnectionFailed: no address answered, the proxy refused, or TLS failed.
        """
        if self._phase == _CONNECTING:
            self._advance_connect(now)
        if self._phase == _PROXY:
            self._advance_proxy()
        if self._phase == _TLS:
            self._advance_tls(now)
        return self._phase == _OPEN

    def _advance_connect(self, now: float) -> None:
        for sock in list(self._trying):
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                try:
                    sock.getpeername()
                except OSError:
                    continue
                self._connected(sock)
                return
            self._refusal = _words(error)
            self._trying.remove(sock)
            sock.close()
        while self._addresses and (not self._trying or (self._next_at is not None and now >= self._next_at)):
            self._try(*self._addresses.pop(0))
            self._next_at = now + _NEXT_ADDRESS_S
        if not self._trying:
            through = f" (proxy {self._proxy[0]}:{self._proxy[1]})" if self._proxy else ""
            raise ConnectionFailed(f"could not connect to {self._target.shown}{through}: {self._refusal}")

    def _try(self, family: int, address: tuple[str, int]) -> None:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._refusal = _words(error.errno or 0)
            return
        sock.setblocking(False)
        error_number = sock.connect_ex(address)
        if error_number in {0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}:
            self._trying.append(sock)
        else:
            self._refusal = _words(error_number)
            sock.close()

    def _connected(self, sock: socket.socket) -> None:
        for other in self._trying:
            if other is not sock:
                other.close()
        self._trying = []
        self._socket = sock
        self._reading, self._writing = ((sock, READ),), ((sock, READ | WRITE),)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._proxy:
            self._ask_proxy(self._proxy[2])
        else:
            self._through()

    def _through(self) -> None:
        self._phase = _TLS if self._target.secure else _OPEN

    def _ask_proxy(self, login: str) -> None:
        lines = [f"CONNECT {self._target.shown} HTTP/1.1", f"Host: {self._target.shown}"]
        if login:
            from base64 import b64encode
            from urllib.parse import unquote

            lines.append(f"Proxy-Authorization: Basic {b64encode(unquote(login).encode()).decode()}")
        self._phase = _PROXY
        self._out += "\r\n".join([*lines, "", ""]).encode()
        self.flush()

    def _advance_proxy(self) -> None:
        self.flush()
        self._head += self._receive() or b""
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if self.cause or len(self._head) > 16384:
                raise ConnectionFailed("the proxy closed the connection without an answer")
            return
        status = head.split(b"\r\n", 1)[0].decode("ascii", "replace")
        if status.split(" ")[1:2] != ["200"] or rest:
            shown = "".join(character if character.isprintable() else "?" for character in status[:80])
            raise ConnectionFailed(f"the proxy refused to connect to {self._target.shown}: {shown}")
        self._through()

    # ---- TLS

    def _prepare_tls(self) -> None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        directory = (
            "" if self._whole_store else _hashed_directory(ssl.get_default_verify_paths(), self._environ)
        )
        self._whole_store = not directory
        if directory:
            context.load_verify_locations(capath=directory)
        else:
            context.load_default_certs()
        if self._cafile:
            try:
                context.load_verify_locations(cafile=self._cafile)
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"--cafile={self._cafile} cannot be used: {error}") from None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = name_of(self._target.host)
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def _advance_tls(self, now: float) -> None:
        import ssl

        assert self._tls is not None and self._incoming is not None  # noqa: S101, PT018 - by the phase
        data = self._receive()
        if data:
            self._incoming.write(data)
        elif data is None:
            self._incoming.write_eof()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._pass_on_tls()
        except ssl.SSLCertVerificationError as error:
            self._retry_with_bundle(error.verify_message, now)
        except ssl.SSLError as error:
            why = self.cause or (error.reason or str(error)).replace("_", " ").lower()
            raise ConnectionFailed(f"TLS with {self._target.shown} failed: {why}") from None
        else:
            self._phase = _OPEN
            self._pass_on_tls()

    def _retry_with_bundle(self, why: str, now: float) -> None:
        """A directory without the issuer may only be incomplete: ask the bundle before judging."""
        if self._whole_store:
            raise ConnectionFailed(
                f"the certificate of {self._target.shown} is not trusted: {why};"
                " if its authority is a private one, name it with --cafile",
                retryable=False,
            )
        self.close()
        self._phase = _CONNECTING
        self._addresses = list(self._resolved)
        self._next_at = now
        self._whole_store = True
        self._advance_connect(now)
        self._prepare_tls()

    def _pass_on_tls(self) -> None:
        if self._outgoing is not None and self._outgoing.pending:
            self._out += self._outgoing.read()
        self.flush()

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The other side's certificate, as `ssl.SSLSocket.getpeercert` gives it; {} without TLS."""
        return (self._tls and self._tls.getpeercert()) or {}

    # ---- bytes

    def _receive(self) -> bytes | None:
        """Return what the socket has, b"" if nothing yet, None at its end."""
        assert self._socket is not None  # noqa: S101 - by the phase
        try:
            data = self._socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self.cause = _words(error.errno or 0)
            return None
        if not data:
            self.cause = self.cause or "the other side ended the connection"
            return None
        return data

    def read(self) -> bytes | None:
        """Return the bytes that have come, b"" if none yet, None when there will be no more."""
        data = self._receive()
        return data if self._tls is None or data == b"" else self._decrypt(data)

    def _decrypt(self, data: bytes | None) -> bytes | None:
        """Take what the socket had; return as `read` does.

        To ask for more than there is raises, which takes longer than a record does: only what is there is
        asked for. It may be half a record.
        """
        tls, incoming = self._tls, self._incoming
        assert tls is not None and incoming is not None  # noqa: S101, PT018 - by the phase
        if data is None:
            return None
        incoming.write(data)
        parts = []
        try:
            while incoming.pending or tls.pending():
                part = tls.read(_READ_BYTES)
                if not part:
                    self.cause = "the other side ended the connection"
                    break
                parts.append(part)
        except OSError as error:  # as all errors of TLS are
            import ssl

            if not isinstance(error, ssl.SSLError):
                raise
            if not isinstance(error, ssl.SSLWantReadError):
                self.cause = f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
        self._pass_on_tls()
        if parts:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        return None if self.cause else b""

    def write(self, data: bytes) -> None:
        """Send bytes now, or keep what the socket does not take yet; a broken TLS takes none any more."""
        if self._tls is not None:
            import ssl

            try:
                self._tls.write(data)
            except ssl.SSLError:
                return  # `read` has told, or will tell, what is wrong
            self._pass_on_tls()
        elif self._out or self._socket is None:
            self._out += data
            self.flush()
        elif data:  # all of it leaves, mostly, and need not be kept
            self._out += data[self._send(self._socket, data) :]

    def flush(self) -> None:
        """Send what is kept, as far as the socket takes it; a broken socket shows at the next read."""
        if self._out and self._socket is not None:
            del self._out[: self._send(self._socket, self._out)]

    def _send(self, sock: socket.socket, data: bytes | bytearray) -> int:
        """Return how much of it the socket took; of a broken one nothing is kept."""
        try:
            return sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.cause = self.cause or _words(error.errno or 0)
            return len(data)

    @property
    def unsent(self) -> bool:
        """Whether bytes still wait for the socket."""
        return bool(self._out)

    def end_writing(self) -> None:
        """Say that nothing more will come, so that what was sent is not lost with the socket."""
        if self._socket is not None and not self._out:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def close(self) -> None:
        """Close every socket."""
        for sock in (*self._trying, self._socket):
            if sock is not None:
                sock.close()
        self._trying = []
        self._socket = None
        self._tls = None
        self._out.clear()


def _words(number: int) -> str:
    from os import strerror

    return strerror(number).lower() if number else "no address to try"


def _hashed_directory(paths: object, environ: Mapping[str, str]) -> str:
    """Return the system's directory of hashed certificates, or "" where the whole store must be loaded."""
    import os
    import sys

    only_a_file = "SSL_CERT_FILE" in environ and "SSL_CERT_DIR" not in environ
    if sys.platform in {"win32", "darwin"} or only_a_file:
        return ""
    directory = getattr(paths, "capath", None) or ""
    try:
        with os.scandir(directory or "/nonexistent") as entries:
            return directory if any(entry.name.endswith(".0") for entry in entries) else ""
    except OSError:
        return ""
