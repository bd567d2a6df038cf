"""Where contestants meet: the load generator, a home, and the command line of each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import process
from benchmarks.frames import PAIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.environments import Environments
    from benchmarks.process import Run

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
OURS = frozenset({"raw", "transcript", "json"})
"""Contestants that are krakenws, by their output."""
_COMMAND = """
import sys
from krakenws.cli import entry
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(entry())
"""
"""What pip 26 and uv install. Older pips begin with `import re`: half a `python -c pass`."""
_ENVIRONMENTS = {
    "original": "websocket-client",
    "original-blind": "websocket-client",
    "cryptofeed": "cryptofeed",
}
"""Rivals in Python that need more than our own environment has."""
_SUBSCRIPTIONS = {
    "ticker": '{"name":"ticker"}',
    "trade": '{"name":"trade"}',
    "book-10": '{"name":"book","depth":10}',
    "book-1000": '{"name":"book","depth":1000}',
}


def subscribe_frame(channel: str) -> str:
    """Return the request for a channel by its name on the wire."""
    return f'{{"event":"subscribe","subscription":{_SUBSCRIPTIONS[channel]},"pair":["{PAIR}"]}}'


class Arena:
    """The load generator, where children live, and how each contestant is started.

    Attributes:
        home: the home directory of all children.
        environments: where rivals are installed.
        cafile: the authority that wss needs.
        command: how krakenws is started.
        command_by_old_pip: the same as pip 23 installs it.
    """

    def __init__(self, home: str, server: subprocess.Popen[str], environments: Environments) -> None:
        self.home = Path(home)
        self.environments = environments
        self.cafile = f"{home}/ca.pem"
        self.environ = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
        self.command = [PYTHON, self._script("krakenws", _COMMAND)]
        self.command_by_old_pip = [PYTHON, self._script("krakenws-by-old-pip", f"import re{_COMMAND}")]
        self._server = server
        self._ports: dict[str, int] = self._read()

    def _script(self, name: str, text: str) -> str:
        path = self.home / name
        path.write_text(text, encoding="ascii")
        return str(path)

    def _read(self) -> dict[str, int]:
        assert self._server.stdout is not None
        told: dict[str, int] = json.loads(self._server.stdout.readline())
        return told

    def began_ns(self) -> int:
        """Return when the latest flood began, by the monotonic clock; each is told once."""
        return self._read()["began_ns"]

    def url(self, scheme: str, path: str) -> str:
        """Return the load generator's address for a flood (server.py says what a path asks for)."""
        return f"{scheme}://127.0.0.1:{self._ports[scheme]}/{path}"

    def run(self, argv: list[str], take: Callable[[int, bytes], None]) -> Run:
        """Run a contestant.

        Nobody bans us here, and a hundred runs are soon made: each begins with an untouched budget.
        """
        (self.home / ".local/state/krakenws/connections").unlink(missing_ok=True)
        return process.run(argv, take, self.environ)

    def krakenws(self, scheme: str, path: str, *words: str) -> list[str]:
        """Return a command line of ours that meets the load generator."""
        cafile = ["--cafile", self.cafile] if scheme == "wss" else []
        return [*self.command, *words, "--public-url", self.url(scheme, path), *cafile]

    def rival(self, who: str, scheme: str, path: str, frame: str, *more: str) -> list[str]:
        """Return the command line of a program of `rivals.py` that first sends a frame.

        Raises:
            AbsentError: its environment is missing.
        """
        python = self.environments.program(_ENVIRONMENTS[who]) if who in _ENVIRONMENTS else PYTHON
        program = "cryptofeed_rival.py" if who == "cryptofeed" else "rivals.py"
        cafile = self.cafile if scheme == "wss" else ""
        return [python, str(HERE / program), who, self.url(scheme, path), frame, cafile, *more]

    def websocat(self, scheme: str, path: str, *options: str) -> list[str]:
        """Return a command line of websocat.

        Raises:
            AbsentError: it is missing.
        """
        insecure = ["-k"] if scheme == "wss" else []
        return [
            self.environments.program("websocat", "websocat"),
            *options,
            *insecure,
            self.url(scheme, path),
        ]

    def subscriber(self, who: str, scheme: str, path: str, channel: str) -> list[str]:
        """Return the command line of a contestant that receives a channel.

        Raises:
            AbsentError: what it needs is missing.
        """
        if who in OURS:
            name, _, depth = channel.partition("-")
            words = [name, PAIR, *([depth] if depth else [])]
            return self.krakenws(scheme, path, *words, "-o", who, "--reconnect", "never")
        if who == "websocat":
            return [*self.websocat(scheme, path, "-n", "-U"), "-p", subscribe_frame(channel)]
        return self.rival(who, scheme, path, subscribe_frame(channel))


@contextmanager
def arena(environments: Environments) -> Iterator[Arena]:
    """Run the load generator."""
    with tempfile.TemporaryDirectory() as home:
        argv = [PYTHON, str(HERE / "server.py"), f"{home}/ca.pem"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield Arena(home, server, environments)
            finally:
                assert server.stdin is not None
                server.stdin.close()  # its sign to leave
