"""The command line: `krakenws`, `python -m krakenws`, and the drop-in `krakenws.py`.

`interface.md` is its contract: words in, whole lines out, one sentence for each error, and an exit code.
"""

from __future__ import annotations

import gc
import os
import sys

from krakenws.cli.parser import parse
from krakenws.core.catalog import shown
from krakenws.core.redaction import Redactor
from krakenws.errors import KrakenWSError
from krakenws.sinks import FORMATS, ClosedPipe, Out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from krakenws.cli.context import Context
    from krakenws.cli.parser import CommandLine

_GC_THRESHOLD = 20_000


def entry() -> NoReturn:
    """Run the command line of this process and leave it."""
    _begin()
    _leave(main(sys.argv[1:]))


def entry_drop_in() -> NoReturn:
    """Run as the original script: transcripts by default, exit codes 0 and 1."""
    _begin()
    _leave(1 if main(sys.argv[1:], drop_in=True) else 0)


def _begin() -> None:
    """Make the process ours."""
    # Imports make much and leave no garbage; to look for it again and again is 4 % of a ping.
    gc.set_threshold(_GC_THRESHOLD)
    # Fill closed descriptors: a socket would take their number, and our words would go to the exchange.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest free number; writing there still fails


def _leave(code: int) -> NoReturn:
    """End the process without tearing the interpreter down: nothing is buffered, and it saves 3 ms."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it was closed when we began
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str], *, drop_in: bool = False) -> int:
    """Run one command line; return its exit code. Never raises but for a missing installation."""
    shell = _Shell(argv, drop_in)
    try:
        return shell.run()
    except ClosedPipe:
        return 0
    except KrakenWSError as error:
        return shell.failed(error)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError:
        raise  # the drop-in says what to install
    except Exception as error:  # noqa: BLE001 - the last resort of a command line
        return shell.broke(error)


def _output_of(argv: Sequence[str]) -> str:
    """Return the output format a command line asks for although it cannot be understood as a whole, or ""."""
    asked = ""
    for word, behind in zip(argv, [*argv[1:], ""], strict=True):
        if word in {"-o", "--output"}:
            asked = behind
        elif word.startswith(("-o", "--output=")):
            asked = word.removeprefix("--output=").removeprefix("-o").removeprefix("=")
    return asked if asked in FORMATS else ""


class _Shell:
    """One run's argv, stdout and stderr."""

    def __init__(self, argv: Sequence[str], drop_in: bool) -> None:
        self._argv = argv
        self._drop_in = drop_in
        self._program = "./krakenws.py" if drop_in else "krakenws"
        self._redactor = Redactor()
        self._out = Out(1)
        self._context: Context | None = None
        self._verbose = any(word in {"-v", "--verbose"} for word in argv)
        self._quiet = False
        self._default_output = "transcript" if drop_in else "text" if os.isatty(1) else "json"

    def run(self) -> int:
        line = parse(self._argv)
        if line.settings.get("version"):
            from krakenws import __version__

            self._out.write(f"krakenws {__version__}\n".encode())
            return 0
        if line.settings.get("help"):
            self._out.write(self._help(line).encode())
            return 0
        from krakenws.cli import commands

        self._context = self._make_context(line)
        return commands.run(self._context, line.feeds or parse(["ping"]).feeds)

    def _help(self, line: CommandLine) -> str:
        from krakenws.cli import help as texts

        parts = [texts.of_tool(self._program, feed.tool) for feed in line.feeds if feed.tool]
        parts += [texts.of_entry(self._program, feed.entry) for feed in line.feeds if feed.entry]
        return "\n".join(parts) or texts.overview(self._program)

    def _make_context(self, line: CommandLine) -> Context:
        from krakenws.cli.context import Context
        from krakenws.cli.settings import options_of, resolve
        from krakenws.directories import config_dir

        settings = resolve(line.settings, os.environ, config_dir())
        self._verbose = bool(settings.get("verbose"))
        self._quiet = bool(settings.get("quiet"))
        output = str(settings.get("output", self._default_output))
        if any(feed.tool and feed.tool.name == "guard" for feed in line.feeds):
            output = "text"  # stdout is CMD's: an error is told on stderr alone
        return Context(
            options_of(settings),
            settings,
            typed=line.settings.keys(),
            output=output,
            out=self._out,
            note=self.note,
            redactor=self._redactor,
            program_dir=os.path.dirname(os.path.abspath(sys.argv[0])),
        )

    def _likely_output(self) -> str:
        """Return the output format of a command line that stopped making sense before its settings were."""
        from krakenws.cli.settings import resolve
        from krakenws.directories import config_dir

        try:
            settings = resolve({}, os.environ, config_dir())
        except KrakenWSError:
            settings = {}
        return _output_of(self._argv) or str(settings.get("output", self._default_output))

    def note(self, sentence: str) -> None:
        """Say a sentence on stderr, unless quiet."""
        if not self._quiet:
            self._say(sentence)

    def _say(self, sentence: str) -> None:
        self._tell(f"krakenws: {shown(self._redactor.clean(sentence), longest=2000)}\n")

    def _tell(self, text: str) -> None:
        try:
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # nobody listens

    def failed(self, error: KrakenWSError) -> int:
        """Tell people and programs what ended the run."""
        error.args = (self._redactor.clean(str(error)),)
        sink = self._context.sink if self._context else None
        if not (sink and sink.has_told(error) and os.isatty(1) and os.isatty(2)):  # the same eyes read both
            self._say(str(error))
        if self._verbose:
            self._trace()
        if (self._context.output if self._context else self._likely_output()) == "json":
            from krakenws.sinks.lines import Json

            try:
                Json(self._context.out if self._context else self._out).failed(error)
            except (ClosedPipe, KrakenWSError):
                return error.exit_code
        return error.exit_code

    def broke(self, error: Exception) -> int:
        """A defect of ours, unless the machine has no more to give: one line, and what to do about it."""
        if "Too many open files" in str(error):  # also an ImportError, which has no errno
            self._say("too many open files for this process: raise its limit (ulimit -n), then try again")
            return 1
        self._say(
            f"a defect of krakenws: {type(error).__name__}: {error};"
            + ("" if self._verbose else " run it again with -v and")
            + " please report it with the command line"
        )
        if self._verbose:
            self._trace()
        return 1

    def _trace(self) -> None:
        from traceback import format_exc

        for line in format_exc().splitlines():
            self._tell(f"{shown(self._redactor.clean(line), longest=2000)}\n")
