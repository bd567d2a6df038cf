"""What every command runs with: settings, output, credentials, and what these make."""

from __future__ import annotations

import os
from time import monotonic, time

from krakenws.directories import config_dir, working_dir
from krakenws.sinks import open_sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from krakenws.budget import ConnectionBudget
    from krakenws.cli.options import Settings
    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Dialect
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.errand import Learn
    from krakenws.net.loop import EventSink, Run
    from krakenws.net.pairs import Pairs
    from krakenws.net.stop import Signals
    from krakenws.options import Options
    from krakenws.playground import Playground
    from krakenws.sinks import Out, Sink

_SELDOM_S = 60.0


class Context:
    """What a command runs with.

    Attributes:
        options: endpoints and deadlines.
        settings: everything else that was set.
        typed: the keys of what the command line itself set: only this can contradict a command, what is kept
            for all commands yields to it.
        output: the output format.
        out: stdout.
        note: says a sentence on stderr, unless quiet.
        redactor: the run's one redactor.
        program_dir: where the program lies, for `WS_Token` beside it.
        working_dir: where `WS_Token` is looked for first.
        environ: where keys and tokens are looked for.
        sink: what takes the output, once it is open.
        plays: whether it talks to a sandbox, which bans nobody.
    """

    def __init__(
        self,
        options: Options,
        settings: Settings,
        *,
        typed: Collection[str],
        output: str,
        out: Out,
        note: Callable[[str], None],
        redactor: Redactor,
        program_dir: str,
    ) -> None:
        self.options = options
        self.settings = settings
        self.typed = typed
        self.output = output
        self.out = out
        self.note = note
        self.redactor = redactor
        self.program_dir = program_dir
        self.working_dir = working_dir()
        self.environ: Mapping[str, str] = os.environ
        self.sink: Sink | None = None
        self.plays = False

    def open_sink(self, bound: Sequence[Bound] | None) -> Sink:
        """Open the output; `bound` is None when only the data tells what the run is about."""
        warn = None if self.options.strict else self.note  # what ends the run need not be told twice
        self.sink = open_sink(self.output, self.out, bound=bound, color=self._has_color(), warn=warn)
        return self.sink

    def _has_color(self) -> bool:
        wish = self.settings.get("color", "auto")
        if wish != "auto":
            return wish == "always"
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and os.isatty(1)

    def credentials(self) -> Credentials:
        """Return what finds tokens and keys; the state file is opened only when a nonce is drawn."""
        from krakenws.net.credentials import Credentials

        token_file, key_file = self.settings.get("token_file"), self.settings.get("key_file")
        return Credentials(
            self.options,
            self.redactor,
            _next_nonce,
            environ=self.environ,
            working_dir=self.working_dir,
            program_dir=self.program_dir,
            config_dir=config_dir(),
            token_file=str(token_file) if token_file else None,
            key_file=str(key_file) if key_file else None,
        )

    def budget(self) -> ConnectionBudget | None:
        """Return the budget of connections that all processes share; there is none for a sandbox."""
        if self.plays:
            return None
        from krakenws.budget import ConnectionBudget

        return ConnectionBudget(self.options, self.note)

    def play(self, playground: Playground) -> None:
        """Talk to a sandbox exchange, with the demo account's key: the user's own is of no use there."""
        from krakenws.playground import demo_environment

        self.plays = True
        self.options = playground.options(self.options)
        self.environ = demo_environment(self.environ)
        self.working_dir = self.program_dir = os.devnull  # no WS_Token lies there

    def make_run(self, options: Options, sink: EventSink, stop: Signals, **more: Any) -> Run:
        """Return a run of this command line; `more` is given to it as it is, and outweighs the usual."""
        from krakenws.net.loop import Run

        usual: dict[str, Any] = {"note": self.note, "warn": self.note, "tell_lag": self.note}
        return Run(
            options,
            sink,
            self.out,
            redactor=self.redactor,
            stop=stop,
            budget=self.budget(),
            **{**usual, "credentials": more.get("credentials") or self.credentials(), **more},
        )

    def pair_patterns(self, api: int, learn: Learn | None = None) -> Callable[[str], list[str]]:
        """Return what expands `*/USD`; `learn` makes the call that asks for the list of pairs."""

        def expand(pattern: str) -> list[str]:
            from krakenws.net.pairs import load

            def ask() -> Pairs:
                return load(self.options, refresh=False, now_s=time())

            pairs: Pairs = ask() if learn is None else learn("pairs", ask)
            if pairs.note:
                self.note(pairs.note)
            return pairs.expand(pattern, api)

        return expand


def _next_nonce(key_id: str) -> int:
    from krakenws.state import next_nonce  # not before a nonce is drawn

    return next_nonce(key_id)


def dialect_of(api: int) -> Dialect:
    """Return the dialect of an API version."""
    if api == 1:
        from krakenws.core.v1 import V1

        return V1
    from krakenws.core.v2 import V2

    return V2


class Seldom:
    """Says the first sentence, and then at most one a minute."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._silent_until = 0.0

    def __call__(self, sentence: str) -> None:
        """Say it, unless one was said lately."""
        now = monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _SELDOM_S
            self._say(sentence)
