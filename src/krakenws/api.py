"""`krakenws.connect`: the Python API put together, from options and credentials to a client."""

from __future__ import annotations

import asyncio
import os
from functools import cached_property
from typing import TYPE_CHECKING

from krakenws.account import Account, confirming, open_journal
from krakenws.budget import ConnectionBudget
from krakenws.core.redaction import Redactor
from krakenws.directories import config_dir, read_config, working_dir
from krakenws.errors import UsageError
from krakenws.net.aioshell import LOG
from krakenws.net.aiotrading import NoSignals, TradingShell
from krakenws.net.client import Client
from krakenws.net.credentials import KEY_VARIABLE, SECRET_VARIABLE, TOKEN_VARIABLE, Credentials
from krakenws.net.gate import Gate
from krakenws.net.loop import Run
from krakenws.net.stop import Stop
from krakenws.options import Options
from krakenws.playground import Playground, demo_environment
from krakenws.record import replace
from krakenws.state import next_nonce

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.core.catalog import Bound
    from krakenws.core.exposure import Exposure, Quote
    from krakenws.core.policy import Policy
    from krakenws.net.ledger import LoopLedger
    from krakenws.net.loop import EventSink
    from krakenws.net.trading import Check, Trading


def connect(
    *,
    api_key: str | None = None,
    api_secret: str | None = None,
    token: str | None = None,
    token_file: str | None = None,
    key_file: str | None = None,
    sandbox: bool | str = False,
    public_url: str | None = None,
    private_url: str | None = None,
    rest_url: str | None = None,
    cafile: str | None = None,
    options: Options | None = None,
) -> Client:
    """Return a client, to be used as `async with krakenws.connect() as kraken:`.

    Nothing is opened before it is needed. Public data needs no credentials. Private feeds and trading take
    the first that is given: `token_file`, `token`, `api_key` with `api_secret`, `key_file`; without any of
    them what the command line finds: `KRAKENWS_TOKEN`, the file `WS_Token`, `KRAKEN_API_KEY` with
    `KRAKEN_API_SECRET`, the key file. With a key, tokens are fetched and renewed by REST. Neither secret is
    ever logged or put into an exception.

    Args:
        api_key: an API key with the permission "WebSocket interface", together with
        api_secret: its secret.
        token: a WebSocket token, or
        token_file: a file that holds one and may be renewed.
        key_file: a file of two lines, key and secret, that only its owner can read.
        sandbox: True: talk to a sandbox exchange with the demo account, one that runs on its default port or
            else one started for this client; or the URL of one, `ws://127.0.0.1:8765`.
        public_url: another endpoint for public data; plain `ws://` only to loopback.
        private_url: another endpoint for what needs a token.
        rest_url: where tokens and pairs come from.
        cafile: a PEM file with one more certificate authority to trust.
        options: deadlines, budgets, verification: all that `krakenws.Options` has.

    Raises:
        UsageError: arguments that contradict each other; an address that cannot be used is told when it is.
    """
    if (api_key is None) != (api_secret is None):
        raise UsageError("a key needs both api_key= and api_secret=")
    urls = {"public_url": public_url, "private_url": private_url, "rest_url": rest_url, "cafile": cafile}
    given = {name: value for name, value in urls.items() if value is not None}
    chosen = replace(options or Options(), **given)
    explicit = _explicit(api_key, api_secret, token)
    maker = _Maker(chosen, explicit, token_file, key_file, sandbox)
    return Client(maker.open, maker.close)


def _explicit(api_key: str | None, api_secret: str | None, token: str | None) -> dict[str, str]:
    """Return what was given in the words of the environment, which is where credentials are looked for."""
    given = {KEY_VARIABLE: api_key, SECRET_VARIABLE: api_secret, TOKEN_VARIABLE: token}
    return {name: value for name, value in given.items() if value is not None}


class _Maker:
    """Makes a client's shell when its `async with` block is entered."""

    def __init__(
        self,
        options: Options,
        explicit: Mapping[str, str],
        token_file: str | None,
        key_file: str | None,
        sandbox: bool | str,
    ) -> None:
        self._options = options
        self._explicit = explicit
        self._token_file = token_file
        self._key_file = key_file
        self._office: _Office | None = None
        self._playground = Playground("" if sandbox is True else sandbox, LOG.info) if sandbox else None

    async def open(self) -> TradingShell:
        """Return a shell; a sandbox is started before, if one is wanted."""
        options = self._options
        try:
            if self._playground is not None:
                await asyncio.to_thread(self._playground.__enter__)
                options = self._playground.options(options)
            return self._open(options)
        except BaseException:
            await self.close()
            raise

    def _open(self, options: Options) -> TradingShell:
        budget = None if self._playground is not None else ConnectionBudget(options, LOG.warning)
        redactor = Redactor()
        credentials = self._credentials(options, redactor)
        office = self._office = _Office(options, redactor, credentials, budget)
        return TradingShell(options, redactor=redactor, credentials=credentials, budget=budget, office=office)

    async def close(self) -> None:
        """End the sandbox that was started."""
        if self._office is not None:
            self._office.stop.close()
        if self._playground is not None:
            await asyncio.to_thread(self._playground.__exit__, None, None, None)

    def _credentials(self, options: Options, redactor: Redactor) -> Credentials:
        """Look nowhere else than in what was given, if anything was."""
        environ: Mapping[str, str] = self._explicit or os.environ
        is_given = bool(self._explicit or self._key_file)
        if self._playground is not None and not (is_given or self._token_file):
            environ, is_given = demo_environment(os.environ), True
        directory = os.devnull if is_given else working_dir()
        return Credentials(
            options,
            redactor,
            next_nonce,
            environ={} if self._key_file and not self._explicit else environ,
            working_dir=directory,
            program_dir=directory,
            config_dir=os.devnull if is_given else config_dir(),
            token_file=self._token_file,
            key_file=self._key_file,
            are_arguments=bool(self._explicit),
        )


class _Office:
    """Makes what a client trades with; the policy is read at once, so that a mistake in it is told first.

    Raises:
        UsageError: the policy cannot be read.
    """

    def __init__(
        self, options: Options, redactor: Redactor, credentials: Credentials, budget: ConnectionBudget | None
    ) -> None:
        self._options = options
        self._redactor = redactor
        self._credentials = credentials
        self._budget = budget
        self._policy = _policy()
        self.journal = open_journal(patience_s=0.0)  # the loop's, which waits for nobody
        self._gate_journal = open_journal()  # of the thread for checks
        self._quote: Quote | None = None
        self.stop = Stop()  # never entered: signals are the caller's

    @cached_property
    def _account(self) -> Account:
        return Account(self._options, self._redactor, self._credentials)

    @cached_property
    def _gate(self) -> Gate:
        return Gate(
            self._options,
            policy=self._policy,
            history=self._account.history(self._gate_journal),
            make_run=self._make_run,
            stop=None,
            note=LOG.warning,
            at_hand=lambda _pair: self._quote,
        )

    def check(self, bound: Bound, waiting: Sequence[Bound], quote: Quote | None) -> Exposure | None:
        """Let an order pass the gate."""
        self._quote = quote
        return self._gate.check(bound, waiting)

    def trading(self, ledger: LoopLedger, check: Check) -> Trading:
        """Return what orders go through."""
        confirm = confirming(self._gate, self._account.history(self.journal))
        return self._account.trading(ledger, NoSignals(), note=LOG.warning, checks=(check,), confirm=confirm)

    def _make_run(self, options: Options, watcher: EventSink, for_s: float) -> Run:
        """Return a run beside the client's connections: what is learned by it goes nowhere else."""
        return Run(
            options,
            watcher,
            _Nowhere(),
            redactor=self._redactor,
            credentials=self._credentials,
            note=LOG.info,
            warn=LOG.warning,
            tell_lag=LOG.warning,
            stop=self.stop,
            budget=self._budget,
            for_s=for_s,
        )

    def close_checks(self) -> None:
        """Close the gate's journal, in its thread."""
        self._gate_journal.close()

    def close(self) -> None:
        """Close the journal; its open rows are for `krakenws reconcile`."""
        self.journal.close()


class _Nowhere:
    """The output of a run that has none."""

    stood_s = 0.0


def _policy() -> Policy | None:
    """Return the user's limits: they hold for everything that trades in his name.

    Raises:
        UsageError: they cannot be read.
    """
    path = os.path.join(config_dir(), "config.toml")
    table = read_config(path).get("policy")
    if table is None:
        return None
    from krakenws.core.policy import read_policy

    if not isinstance(table, dict):
        raise UsageError(f"{path}: policy is no table")
    return read_policy(table, path)
