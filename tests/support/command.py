"""The command as a user runs it: a process with a clean environment, read line by line with a deadline."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tests.support.pairs import store_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
"""What must happen happens far sooner, also on a busy machine."""
PROGRAMS = {
    "krakenws": [str(Path(sys.executable).with_name("krakenws"))],
    "krakenws.py": [sys.executable, str(ROOT / "krakenws.py")],
    "python -m krakenws": [sys.executable, "-m", "krakenws"],
}


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of stdout as JSON."""
        return [json.loads(line) for line in self.lines]

    @property
    def stream(self) -> list[dict[str, Any]]:
        """The events without the summary that ends them."""
        return [event for event in self.events if event["event"] != "summary"]

    @property
    def sentence(self) -> str:
        """What stderr says, which must be one sentence and nothing else."""
        assert self.err.startswith("krakenws: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("krakenws: ").rstrip("\n")


class _Stream:
    """A pipe read in a thread, so that nobody blocks for long."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._text = b""
        self._taken = 0
        self._ended = False
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._pipe.fileno(), 65536):
            with self._news:
                self._text += data
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def line(self) -> str | None:
        """Return the next line, None at the end."""
        end_at = time.monotonic() + DEADLINE_S
        with self._news:
            while (end := self._text.find(b"\n", self._taken)) < 0:
                if self._ended:
                    return None
                assert self._news.wait(end_at - time.monotonic()), f"no line came after {self._text[-500:]!r}"
            line = self._text[self._taken : end]
            self._taken = end + 1
            return line.decode()

    def all(self) -> str:
        """Return everything, after the end."""
        with self._news:
            assert self._news.wait_for(lambda: self._ended, DEADLINE_S)
        return self._text.decode()


class Process:
    """A running command."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        assert popen.stderr is not None
        self._popen = popen
        self.pid = popen.pid
        self._out = _Stream(popen.stdout)
        self._err = _Stream(popen.stderr)

    def line(self) -> str:
        """Return the next line of stdout."""
        line = self._out.line()
        assert line is not None, f"stdout ended; stderr: {self._err.all()}"
        return line

    def event(self, name: str = "") -> dict[str, Any]:
        """Return the next event on stdout (of that name)."""
        while True:
            event: dict[str, Any] = json.loads(self.line())
            if not name or event["event"] == name:
                return event

    def note(self, words: str) -> str:
        """Return the next line of stderr that contains `words`."""
        line = self.note_or_end(words)
        assert line is not None, f"stderr ended without {words!r}: {self._err.all()}"
        return line

    def note_or_end(self, words: str) -> str | None:
        """Return the same, or None when stderr ends without one."""
        while (line := self._err.line()) is not None and words not in line:
            pass
        return line

    def send(self, text: str) -> None:
        """Write to stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.flush()

    def end_input(self) -> None:
        """Close stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._popen.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._popen.terminate()

    def finish(self, within_s: float = DEADLINE_S) -> Result:
        """Wait for the end."""
        code = self._popen.wait(within_s)
        return Result(code, self._out.all(), self._err.all())

    def dispose(self) -> None:
        """End it, if it has not ended."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        self._out.all()
        self._err.all()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()


class Command:
    """Runs krakenws in a home of its own.

    Attributes:
        home: HOME, the XDG directories and the working directory.
        environ: what the process sees, and nothing else.
    """

    def __init__(self, home: Path, program: str = "krakenws", *, covered: bool = True) -> None:
        """Covered: lines count for `make check`, which slows it; times are those of users without."""
        self.home = home
        self.program = PROGRAMS[program]
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            **{name: value for name, value in os.environ.items() if covered and name.startswith("COVERAGE_")},
        }
        store_pairs(home / "cache" / "krakenws")  # or each order would ask Kraken for them

    def called(self, program: str) -> Command:
        """Return the same under another name."""
        other = Command(self.home, program)
        other.environ = self.environ
        return other

    def store_token(self, text: str) -> None:
        """Put a token into `WS_Token` of the working directory."""
        path = self.home / "WS_Token"
        path.write_text(f"{text}\n")
        path.chmod(0o600)

    def run(self, *words: str, stdin: str | bytes = b"", **environ: str) -> Result:
        """Run it to its end."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return self._run([*self.program, *words], data, subprocess.PIPE, environ)

    def run_onto(self, stdout: IO[bytes], *words: str) -> Result:
        """Run it to its end with another stdout than a pipe."""
        return self._run([*self.program, *words], b"", stdout, {})

    def shell(self, line: str, **environ: str) -> Result:
        """Run a line of Bash in which `$KRAKENWS` is the command; a failure in a pipe counts."""
        environ["KRAKENWS"] = shlex.join(self.program)
        return self._run(["bash", "-c", f"set -o pipefail; {line}"], b"", subprocess.PIPE, environ)

    def _run(
        self, command: Sequence[str], stdin: bytes, stdout: IO[bytes] | int, environ: Mapping[str, str]
    ) -> Result:
        done = subprocess.run(
            command,
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**self.environ, **environ},
            cwd=self.home,
            timeout=DEADLINE_S,
            check=False,
        )
        return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())

    @contextmanager
    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
        """Start it; it is ended on leaving at the latest. A busy sandbox's lines are not counted."""
        seen = {**self.environ, **(environ or {})}
        if "--rate" in words:
            seen = {name: value for name, value in seen.items() if not name.startswith("COVERAGE_")}
        process = Process(
            subprocess.Popen(
                [*self.program, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=seen,
                cwd=self.home,
            )
        )
        try:
            yield process
        finally:
            process.dispose()
