"""Start-up is a feature: what each command imports, and what it must not."""

from __future__ import annotations

import os
import subprocess
import sys
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.command import DEADLINE_S, ROOT
from tests.support.pairs import store_pairs
from tests.support.scripts import TICKER, Ladder, accepts, pongs, streams
from tests.support.server import exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Script

ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01")
SERVER = {"asyncio", "websockets"}
"""Only what serves loads them."""
HEAVY = {
    *SERVER,
    "msgspec",
    "typing",
    "dataclasses",
    "argparse",
    "platformdirs",
    "urllib.request",
    "http.client",
    "pathlib",
    "logging",
    "inspect",
    "importlib.metadata",
    "sqlite3",
    "decimal",
    "ssl",
    "threading",
    "tempfile",
    "subprocess",
}
PARSED = {
    "krakenws",
    "krakenws.cli",
    "krakenws.cli.options",
    "krakenws.cli.parser",
    "krakenws.core",
    "krakenws.core.catalog",
    "krakenws.core.kinds",
    "krakenws.core.redaction",
    "krakenws.core.v1_entries",
    "krakenws.errors",
    "krakenws.record",
    "krakenws.sinks",
}
"""What it takes to understand a command line: of ours all, of the standard library only what `os` loads."""
HELPED = {
    *PARSED,
    "krakenws.cli.help",
    "krakenws.cli.tools",
    "krakenws.core.v2_entries",
    "krakenws.directories",
}
CONNECTED = {
    *PARSED,
    "krakenws.budget",
    "krakenws.cli.commands",
    "krakenws.cli.context",
    "krakenws.cli.settings",
    "krakenws.core.dialect",
    "krakenws.core.events",
    "krakenws.core.handshake",
    "krakenws.core.login",
    "krakenws.core.pacing",
    "krakenws.core.protocol",
    "krakenws.core.requests",
    "krakenws.core.subscription",
    "krakenws.core.subscriptions",
    "krakenws.core.v1",
    "krakenws.core.violations",
    "krakenws.core.websocket",
    "krakenws.directories",
    "krakenws.net",
    "krakenws.net.credentials",
    "krakenws.net.errand",
    "krakenws.net.loop",
    "krakenws.net.poller",
    "krakenws.net.shell",
    "krakenws.net.stop",
    "krakenws.net.target",
    "krakenws.net.transport",
    "krakenws.net.verdicts",
    "krakenws.options",
    "krakenws.sinks.lines",
}
"""What any connection takes. Each module is a quarter of a millisecond: one more needs a reason."""
TEXT = {"krakenws.sinks.text", "krakenws.sinks.sentences"}
_PROGRAM = """
import sys
from krakenws.cli import main
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as loaded:
    loaded.write("\\n".join(sys.modules))
sys.exit(code)
"""


def modules_of(home: Path, *words: str) -> set[str]:
    """Return what a command has loaded when it ends, without what site-packages' .pth files load."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "KRAKEN"))
    }
    (home / "WS_Token").write_text("a-token-for-a-test\n")
    (home / "WS_Token").chmod(0o600)
    store_pairs(home / "cache" / "krakenws")
    done = subprocess.run(
        [sys.executable, "-S", "-c", _PROGRAM, str(home / "modules"), *words],
        env={
            **environ,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT / "src"), *(path for path in sys.path if "site-packages" in path)]
            ),
        },
        cwd=home,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode in {0, 2}, done.stderr
    return set((home / "modules").read_text().splitlines())


def ours(loaded: set[str]) -> set[str]:
    return {name for name in loaded if name.partition(".")[0] == "krakenws"}


@pytest.mark.parametrize(
    "words", [["--help"], ["book", "--help"], ["balances", "--help"], ["replay", "--help"]]
)
def test_help_reads_the_catalog_and_knows_no_frames(tmp_path: Path, words: list[str]) -> None:
    loaded = modules_of(tmp_path, *words)
    assert ours(loaded) | {"krakenws.core.v2_entries"} == HELPED  # not for a name that v1 or a tool has
    assert loaded & {"json", "re", "enum", "functools"} == set()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["book", "--help"],
        ["addOrder", "--help"],
        ["replay", "--help"],
        ["wait", "--help"],
        ["wait", "XBT/USD bdi > 65000"],
        ["tikcer"],
        ["book", "XBT/USD", "42"],
        [*ORDER, "price=1e4"],
        ["ticker", "XBT/USD", "--outputt", "json"],
        ["catalog"],
    ],
)
def test_help_and_usage_errors_load_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    loaded = modules_of(tmp_path, *words)
    assert loaded & {*HEAVY, "socket", "signal", "krakenws.net.loop"} == set()


STREAMS: dict[str, tuple[str, str]] = {
    "ticker XBT/USD": ("raw", TICKER),
    "ticker XBT/USD ": ("transcript", TICKER),
    "book XBT/USD": ("raw", Ladder().snapshot()),
    "book XBT/USD ": ("transcript", Ladder().snapshot()),
}


@pytest.mark.parametrize("line", STREAMS)
def test_raw_and_transcript_streams_load_nothing_heavy(tmp_path: Path, line: str) -> None:
    output, frame = STREAMS[line]
    with exchange(streams(frame)) as server:
        loaded = modules_of(tmp_path, *line.split(), "-o", output, "--count", "1", *server.options)
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("output", ["raw", "transcript", "json", "text"])
def test_ping_loads_nothing_heavy(tmp_path: Path, output: str) -> None:
    with exchange(pongs) as server:
        loaded = modules_of(tmp_path, "ping", "-o", output, *server.options)
    assert loaded & {*HEAVY, "hashlib", "encodings.idna", "zlib", "bisect"} == set()
    assert ours(loaded) == (CONNECTED if output != "text" else CONNECTED - {"krakenws.sinks.lines"} | TEXT)


def test_an_order_that_is_only_checked_needs_no_journal(tmp_path: Path) -> None:
    with exchange(private=accepts) as server:
        loaded = modules_of(tmp_path, *ORDER, "validate=true", *server.options)
    assert loaded & {*HEAVY, "hashlib", "encodings.idna", "encodings.utf_8_sig"} == set()


@pytest.mark.parametrize("output", ["raw", "transcript", "json"])
@pytest.mark.parametrize("words", [ORDER, ["cancelAll"], ["cancelOrder", "txid=A,B"]])
def test_trading_commands_load_the_journal_and_nothing_else_heavy(
    tmp_path: Path, words: list[str], output: str
) -> None:
    with exchange(private=accepts) as server:
        loaded = modules_of(tmp_path, *words, "-o", output, *server.options)
    assert loaded & HEAVY == {"sqlite3"}


ROWS: list[tuple[str, Script]] = [
    ("ticker XBT/USD", streams(TICKER)),
    ("book XBT/USD", streams(Ladder().snapshot())),
]


@pytest.mark.parametrize("output", ["json", "text", "csv"])
@pytest.mark.parametrize(("line", "script"), ROWS)
def test_rows_load_msgspec_and_still_no_server(
    tmp_path: Path, line: str, script: Script, output: str
) -> None:
    with exchange(script) as server:
        loaded = modules_of(tmp_path, *line.split(), "-o", output, "--count", "1", *server.options)
    assert "msgspec" in loaded
    assert loaded & {*SERVER, "ssl", "argparse", "platformdirs", "http.client", "urllib.request"} == set()


def test_decoding_loads_no_socket(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text(f"{TICKER}\n")
    loaded = modules_of(tmp_path, "decode", "frames", "-o", "json")
    assert loaded & {*SERVER, "socket", "ssl", "krakenws.net.loop"} == set()
