"""What krakenws costs beside its rivals: throughput, latency and start-up, in one interleaved run.

    python benchmarks/run.py [--quick] [--all]

Prints a report and, unless quick, writes it to benchmarks/RESULTS.md. README.md says how it is measured.
"""
# ruff: noqa: RUF001 - the report has typographic signs

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.frames import PAIR
from benchmarks.rivals import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Values = dict[str, list[float]]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
SUB_REPORTS = ("codec.py", "book.py", "rows.py", "sandbox.py", "session.py")
DEADLINE_S = 30.0
RATE = 5000
STAMP = re.compile(rb'"(\d{20})"')
KRAKENWS = [shutil.which("krakenws", path=str(Path(sys.executable).parent)) or "krakenws"]
PYTHON = [sys.executable]
SUBSCRIPTIONS = {
    "ticker": '{"name":"ticker"}',
    "trade": '{"name":"trade"}',
    "book-10": '{"name":"book","depth":10}',
    "book-1000": '{"name":"book","depth":1000}',
}
CONTESTS = (
    ("ws", "ticker", ("raw", "transcript", "json", "floor", "plain", "original", "original-blind")),
    ("ws", "trade", ("raw", "transcript", "json", "floor", "plain", "original-blind")),
    ("ws", "book-10", ("raw", "transcript", "json", "floor", "plain", "original-blind")),
    ("ws", "book-1000", ("raw", "json", "floor")),
    ("wss", "ticker", ("raw", "floor", "plain", "original-blind")),
)
NAMES = {
    **{name: f"**krakenws -o {name}**" for name in ("raw", "transcript", "json")},
    "floor": "floor: cut frames, one write a read, no checks",
    "plain": "plain: websockets, json.loads, print",
    "original": "original's way: websocket-client, print",
    "original-blind": "the same, spared its check of UTF-8",
    "generator": "the generator, nobody looking",
}
TARGETS = (
    ("ws ticker raw", "ws ticker floor", 0.8),
    ("ws ticker raw", "ws ticker original-blind", 16),
    ("ws ticker transcript", "ws ticker original-blind", 12),
    ("wss ticker raw", "wss ticker floor", 0.8),
    ("ws book-10 raw", "ws book-10 original-blind", 1.7),
    ("ws book-1000 raw", "ws book-10 raw", 0.75),
    ("ws book-10 json", "ws book-10 raw", 0.5),
    ("ws ticker json", "ws ticker raw", 0.15),
    ("ws trade json", "ws trade raw", 0.15),
    ("latency p50 raw", "latency p50 floor", -1.3),
    ("start krakenws --help", "start python -c pass", -1.5),
    ("start krakenws ping, ws", "start python -c pass", -3),
    ("start krakenws ping, wss", "start python -c pass", -4.5),
)
"""Ratios to reach: at least, or, where negative, at most."""


class Sizes(NamedTuple):
    """How long a run takes."""

    rounds: int
    flood_s: float
    starts: int
    paced: int


FULL = Sizes(rounds=7, flood_s=0.35, starts=25, paced=2500)
QUICK = Sizes(rounds=3, flood_s=0.08, starts=7, paced=500)


class Run(NamedTuple):
    """One process, from start to exit."""

    code: int
    cpu_s: float
    errors: str


class Bench:
    """The load generator, where children live, and everything measured so far.

    Attributes:
        values: what each round gave, by what was measured.
    """

    def __init__(self, home: str, server: subprocess.Popen[str]) -> None:
        self._home = Path(home)
        self._environ = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
        self._cafile = f"{home}/ca.pem"
        self._server = server
        self._ports: dict[str, int] = self._told()
        self.values: Values = {}

    def _told(self) -> dict[str, int]:
        assert self._server.stdout is not None
        told: dict[str, int] = json.loads(self._server.stdout.readline())
        return told

    def _url(self, scheme: str, path: str) -> str:
        return f"{scheme}://127.0.0.1:{self._ports[scheme]}/{path}"

    def _note(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def krakenws(self, scheme: str, path: str, *words: str) -> list[str]:
        """Return a command line that meets the load generator at a path."""
        cafile = ["--cafile", self._cafile] if scheme == "wss" else []
        return [*KRAKENWS, *words, "--public-url", self._url(scheme, path), *cafile]

    def client(self, scheme: str, path: str, channel: str, who: str) -> list[str]:
        """Return the command line of a contestant."""
        if who in {"raw", "transcript", "json"}:
            words = channel.replace("-", f" {PAIR} ").split() if "-" in channel else [channel, PAIR]
            return self.krakenws(scheme, path, *words, "-o", who, "--reconnect", "never")
        rival = [*PYTHON, str(ROOT / "benchmarks" / "rivals.py"), who]
        cafile = [self._cafile] if scheme == "wss" else []
        return [*rival, self._url(scheme, path), subscribe_frame(channel), *cafile]

    def run(self, argv: list[str], take: Callable[[bytes], None]) -> Run:
        """Run a process; `take` gets its output as it comes.

        Nobody bans us here, and a hundred runs are soon made: each begins with an untouched budget.
        """
        (self._home / ".local/state/krakenws/connections").unlink(missing_ok=True)
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=self._environ
            ) as process,
        ):
            assert process.stdout is not None
            watchdog = Timer(DEADLINE_S, process.kill)
            watchdog.start()
            while data := os.read(process.stdout.fileno(), 1 << 20):
                take(data)
            _, status, usage = os.wait4(process.pid, 0)
            watchdog.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            return Run(process.returncode, usage.ru_utime + usage.ru_stime, errors.read())

    def flood(self, scheme: str, channel: str, who: str, count: int) -> tuple[float, float]:
        """Return how many seconds a contestant took for so many frames, and its processor time in all."""
        lines, ended_ns = 0, 0

        def take(data: bytes) -> None:
            nonlocal lines, ended_ns
            ended_ns = time.monotonic_ns()
            lines += data.count(b"\n")

        run = self.run(self.client(scheme, str(count), channel, who), take)
        began_ns = self._told()["began_ns"]
        is_ours = who in {"raw", "transcript", "json"}
        told_more = is_ours and run.errors.count("\n") > 1  # of a gap, say; the one line is of the close
        if not count <= lines <= count + 10 or run.code != (4 if is_ours else 0) or told_more:
            sys.exit(f"{who}, {scheme} {channel}: exit {run.code}, {lines} lines of {count}: {run.errors}")
        return (ended_ns - began_ns) / 1e9, run.cpu_s

    def count_for(self, scheme: str, channel: str, who: str, wanted_s: float) -> int:
        """Return how many frames keep a contestant busy for so long."""
        count, wall_s = 250, 0.0
        while wall_s < wanted_s / 8:
            count *= 4
            wall_s, _ = self.flood(scheme, channel, who, count)
        return int(count * wanted_s / wall_s)

    def measure_flood(self, scheme: str, channel: str, who: str, count: int) -> None:
        """Note messages a second, microseconds of processor a message, and how busy the process was."""
        name = f"{scheme} {channel} {who}"
        _, start_cpu_s = self.flood(scheme, channel, who, 0)
        wall_s, cpu_s = self.flood(scheme, channel, who, count)
        self._note(name, count / wall_s)
        self._note(f"cpu {name}", (cpu_s - start_cpu_s) / count * 1e6)
        self._note(f"busy {name}", (cpu_s - start_cpu_s) / wall_s)

    def measure_generator(self, scheme: str, channel: str, count: int) -> None:
        """Note how fast frames come when nobody looks at them."""
        cafile = self._cafile if scheme == "wss" else None
        read, _ = connect(self._url(scheme, str(count)), subscribe_frame(channel), cafile)
        began_ns = self._told()["began_ns"]
        last = b""
        while not last.endswith(b"\x88\x02\x03\xe8"):
            last = read()
        self._note(f"{scheme} {channel} generator", count / (time.monotonic_ns() - began_ns) * 1e9)

    def measure_latency(self, who: str, count: int) -> None:
        """Note the time from a frame's send to its line here: percentiles, in microseconds."""
        waited_us: list[float] = []

        def take(data: bytes) -> None:
            now_ns = time.monotonic_ns()
            waited_us.extend((now_ns - int(stamp)) / 1000 for stamp in STAMP.findall(data))

        self.run(self.client("ws", f"{count}/{RATE}", "trade", who), take)
        self._told()
        waited_us.sort()
        for percent in (50, 99):
            self._note(f"latency p{percent} {who}", waited_us[len(waited_us) * percent // 100])

    def measure_start(self, name: str, argv: list[str], code: int) -> None:
        """Note the milliseconds from start to exit."""
        began_ns = time.perf_counter_ns()
        run = self.run(argv, lambda _: None)
        self._note(f"start {name}", (time.perf_counter_ns() - began_ns) / 1e6)
        if run.code != code:
            sys.exit(f"{name}: exit {run.code}: {run.errors}")

    def starts(self) -> dict[str, tuple[list[str], int]]:
        """Return what is started and the exit code it must have."""
        return {
            "python -c pass": ([*PYTHON, "-c", "pass"], 0),
            "python -I -c pass": ([*PYTHON, "-I", "-c", "pass"], 0),
            "krakenws --help": ([*KRAKENWS, "--help"], 0),
            "krakenws, a usage error": ([*KRAKENWS, "tickr"], 2),
            "krakenws ping, ws": (self.krakenws("ws", "", "ping"), 0),
            "krakenws ping, wss": (self.krakenws("wss", "", "ping"), 0),
        }


def subscribe_frame(channel: str) -> str:
    return f'{{"event":"subscribe","subscription":{SUBSCRIPTIONS[channel]},"pair":["{PAIR}"]}}'


@contextmanager
def bench() -> Iterator[Bench]:
    """Run the load generator."""
    with tempfile.TemporaryDirectory() as home:
        argv = [sys.executable, str(ROOT / "benchmarks" / "server.py"), f"{home}/ca.pem"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            yield Bench(home, server)


def measure(sizes: Sizes) -> Values:
    """Measure everything, taking turns."""
    with bench() as b:
        contests = [
            (scheme, channel, who)
            for scheme, channel, contestants in CONTESTS
            for who in contestants
            if not who.startswith("original") or find_spec("websocket")
        ]
        counts = {contest: b.count_for(*contest, sizes.flood_s) for contest in contests}
        latencies = ["raw", "floor", *(["original-blind"] if find_spec("websocket") else [])]
        for number in range(sizes.rounds):
            progress(f"round {number + 1} of {sizes.rounds}")
            for contest in contests:
                b.measure_flood(*contest, counts[contest])
            for scheme, channel, _ in CONTESTS:
                b.measure_generator(scheme, channel, counts[scheme, channel, "floor"])
            for who in latencies:
                b.measure_latency(who, sizes.paced)
        progress("start-up")
        for _ in range(sizes.starts):
            for name, (argv, code) in b.starts().items():
                b.measure_start(name, argv, code)
        return b.values


def progress(text: str) -> None:
    print(text, "…", file=sys.stderr, flush=True)


# ---- the report


def ratio(values: Values, name: str, other: str, digits: int = 2) -> str:
    """Return the median of each round's ratio and, in brackets, their range."""
    if name not in values or other not in values:
        return "–"
    of = sorted(a / b for a, b in zip(values[name], values[other], strict=True))
    return f"{median(of):.{digits}f} ({of[0]:.{digits}f}–{of[-1]:.{digits}f})"


def table(head: str, rows: list[str]) -> str:
    columns = head.count("|") + 1
    return "\n".join(
        [f"| {head} |", "| --- " + "| ---: " * (columns - 1) + "|", *(f"| {row} |" for row in rows)]
    )


def target_table(values: Values) -> str:
    rows = []
    for name, other, target in TARGETS:
        if name in values and other in values:
            found = median(a / b for a, b in zip(values[name], values[other], strict=True))
            met = found >= target if target > 0 else found <= -target
            sign = "≥" if target > 0 else "≤"
            verdict = "yes" if met else "**no**"
            rows.append(
                f"{name} | {other} | {ratio(values, name, other)} | {sign} {abs(target):g} | {verdict}"
            )
    return table("work | against | ratio | target | met", rows)


def flood_table(values: Values, scheme: str, channel: str, contestants: tuple[str, ...]) -> str:
    work = f"{scheme} {channel}"
    rows = []
    for who in (*contestants, "generator"):
        name = f"{work} {who}"
        if name not in values:
            continue
        ratios = " | ".join(
            ratio(values, name, f"{work} {other}") for other in ("floor", "plain", "original-blind")
        )
        row = f"{NAMES[who]} | {ratios} | {median(values[name]) / 1000:.0f}"
        if f"cpu {name}" in values:
            busy = median(values[f"busy {name}"])
            row += f" | {median(values[f'cpu {name}']):.2f} | {busy:.0%}"
        else:
            row += " | – | –"
        rows.append(row)
    head = f"{work} | × floor | × plain | × original-blind | 1,000 msgs/s | CPU µs/msg | busy"
    return table(head, rows)


def latency_table(values: Values) -> str:
    rows = [
        f"{NAMES[who]} | {ratio(values, f'latency p50 {who}', 'latency p50 floor')} | "
        + " | ".join(f"{median(values[f'latency p{percent} {who}']):.0f}" for percent in (50, 99))
        for who in ("raw", "floor", "original-blind")
        if f"latency p50 {who}" in values
    ]
    return table("wire to stdout | p50 × floor | p50 µs | p99 µs", rows)


def start_table(values: Values) -> str:
    rows = [
        f"{name.removeprefix('start ')} | {ratio(values, name, 'start python -c pass')} | "
        f"{ratio(values, name, 'start python -I -c pass')} | {median(times):.1f}"
        for name, times in values.items()
        if name.startswith("start ")
    ]
    return table("process start to exit | × python | × python -I | ms", rows)


def report(values: Values, sizes: Sizes) -> str:
    floods = [flood_table(values, *contest) for contest in CONTESTS]
    return "\n\n".join(
        [
            "# Results",
            about(sizes),
            "## Targets",
            target_table(values),
            "## Throughput: loopback to a pipe",
            *floods,
            f"## Latency: {RATE:,} single frames a second, ws",
            latency_table(values),
            "## Start-up",
            start_table(values),
            "",
        ]
    )


def about(sizes: Sizes) -> str:
    commit = output_of("git", "rev-parse", "--short", "HEAD")
    changed = ", with changes" if output_of("git", "status", "--porcelain", "src") else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}{changed}, {machine()}, {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}. Medians of {sizes.rounds} "
        f"interleaved rounds (start-up {sizes.starts}), their range in brackets. Written by `make bench`."
    )


def output_of(*argv: str) -> str:
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def machine() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    except OSError:
        found = None
    return f"{os.cpu_count()} × {found[1] if found else platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure krakenws beside its rivals, in the same run.")
    parser.add_argument("--quick", action="store_true", help="less of everything; RESULTS.md stays as it is")
    parser.add_argument("--all", action="store_true", help="also run the sub-reports")
    chosen = parser.parse_args()
    sizes = QUICK if chosen.quick else FULL
    text = report(measure(sizes), sizes)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text, encoding="utf-8")
    for name in SUB_REPORTS if chosen.all else ():
        print(f"## {name}\n", flush=True)
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / name)], check=True)


if __name__ == "__main__":
    main()
