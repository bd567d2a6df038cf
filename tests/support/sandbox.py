"""`krakenws sandbox` as a test runs it, the command pointed at it, and clients that nobody here wrote."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from contextlib import contextmanager
from shlex import split
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from websockets.sync.client import connect

from tests.support.command import DEADLINE_S, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.support.command import Process, Result


class Sandbox:
    """A running sandbox, the command pointed at it, and clients of other making.

    Attributes:
        told: what it printed at start: `public`, `private`, `REST`, `API key`, `API secret`.
        cafile: whom its clients have to trust, or "".
    """

    def __init__(self, process: Process, command: Command, cafile: str, count: int = 5) -> None:
        lines = [process.line().partition(": ") for _ in range(count)]
        self.told = {name: value for name, _, value in lines}
        self.process = process
        self.cafile = cafile or self.told.get("CA", "")
        self.command = command
        self.command.environ.update(
            KRAKENWS_PUBLIC_URL=self.told["public"],
            KRAKENWS_PRIVATE_URL=self.told["private"],
            KRAKENWS_REST_URL=self.told["REST"],
            KRAKENWS_CAFILE=self.cafile,
            KRAKEN_API_KEY=self.told["API key"],
            KRAKEN_API_SECRET=self.told["API secret"],
        )

    @property
    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.cafile) if self.cafile else None

    def run(self, line: str, **environ: str) -> Result:
        return self.command.run(*split(line), "-o", "json", **environ)

    def reply(self, line: str, **environ: str) -> dict[str, Any]:
        """Run a line that is to be accepted and return its answer."""
        result = self.run(line, **environ)
        assert result.code == 0, result.err
        (answer,) = [event for event in result.events if event["event"] == "reply"]
        assert answer["success"]
        return answer

    def connect(self, endpoint: str = "public", path: str = "") -> ClientConnection:
        """A client that nobody here wrote."""
        return connect(self.told[endpoint] + path, ssl=self.tls, open_timeout=DEADLINE_S, compression=None)

    def call(self, method: str, nonce: int, **fields: str) -> dict[str, Any]:
        """Make a private REST call without any of our code."""
        path = f"/0/private/{method}"
        body = urlencode({"nonce": nonce, **fields})
        digest = hashlib.sha256(f"{nonce}{body}".encode()).digest()
        secret = base64.b64decode(self.told["API secret"])
        signature = base64.b64encode(hmac.digest(secret, path.encode() + digest, "sha512")).decode()
        headers = {"API-Key": self.told["API key"], "API-Sign": signature}
        request = Request(self.told["REST"] + path, body.encode(), headers)
        with urlopen(request, timeout=DEADLINE_S, context=self.tls) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told

    def token(self) -> str:
        told = self.call("GetWebSocketsToken", time.time_ns())
        assert told["error"] == []
        return str(told["result"]["token"])


@contextmanager
def running(command: Command, *words: str, cafile: str = "", count: int = 5) -> Iterator[Sandbox]:
    with command.start("sandbox", "--listen", "127.0.0.1:0", "--rate", "200", *words) as process:
        yield Sandbox(process, command, cafile, count)
