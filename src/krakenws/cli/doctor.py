"""`krakenws doctor`: one look at everything between here and the exchange.

From the machine outwards: files, budget, proxy, names, endpoints with their certificates, the exchange's
state and clock, the key and what it may do, the token. Each step is bounded in time, and says what mends it;
what cannot be looked at because something before it failed is *skipped*. Nothing is changed at the exchange:
calls that only read, and one subscription that ends with its connection. Whether a key may trade only an
order would tell, so nobody asks. Secrets are used and never shown.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from functools import partial
from shlex import quote
from time import gmtime, monotonic, strftime, time

from krakenws.core import dialect as d
from krakenws.core.catalog import shown
from krakenws.core.events import CHECKED
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import OPEN_ORDERS
from krakenws.directories import state_dir
from krakenws.errors import ConnectionFailed, CredentialsError, KrakenWSError, UsageError
from krakenws.net.probe import Probe, addresses_of, bounded
from krakenws.net.rest import RestClient
from krakenws.net.target import is_address, parse_url, proxy_of, way_to
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Any, TypeVar

    from krakenws.budget import ConnectionBudget
    from krakenws.cli.context import Context
    from krakenws.net.credentials import Credentials, Token
    from krakenws.net.target import Address, Target

    T = TypeVar("T")

OK, WARNING, FAILED, SKIPPED = CHECKED
_GRAVITY = (2, 4, 3, 9, 7, 5)
"""Exit codes of failed lines, what explains most first: without a connection nothing else is known."""
_CLOCK_WARNING_S = 1.0
_CLOCK_FAILED_S = 30.0
_EXPIRES_S = 14 * 86400.0
_NEARLY_SPENT = 0.8
_LONGEST = 2000
_READS = (
    ("/0/private/Balance", "Query funds", "balances"),
    ("/0/private/OpenOrders", "Query open orders & trades", "openOrders"),
    ("/0/private/ClosedOrders", "Query closed orders & trades", "ownTrades"),
)
"""Calls that only read, the permission that each needs, and the channel that needs the same."""
_MEND_PROXY = "look at the proxy, which HTTPS_PROXY or ALL_PROXY names; NO_PROXY lists what goes past it"


@record
class Check:
    """One line.

    Attributes:
        check: what was looked at, one word or two.
        state: one of `CHECKED`.
        message: what was found.
        fix: what to do, "" where nothing needs doing.
        code: the exit code of a failed one.
    """

    check: str
    state: str
    message: str
    fix: str = ""
    code: int = 0


def run(context: Context) -> int:
    """Look at everything and tell it line by line; return the exit code.

    0 when no line failed, else the code of the gravest one.
    """
    counts = dict.fromkeys(CHECKED, 0)
    codes = set()
    with ExitStack() as stack:
        for check in _Examination(context, stack).checks():
            counts[check.state] += 1
            codes.add(check.code)
            _tell(context, check)
    code = next((code for code in _GRAVITY if code in codes), max(codes))
    _conclude(context, counts, code)
    return code


class _Examination:
    """What has been found so far, and what remains to be looked at."""

    def __init__(self, context: Context, stack: ExitStack) -> None:
        self._context = context
        self._options = context.options
        self._credentials: Credentials = context.credentials()
        self._rest: RestClient | None = None
        self._stack = stack
        self._addresses: dict[tuple[str, int], list[Address]] = {}
        self._private: Probe | None = None
        self._statuses: list[str] = []

    def checks(self) -> Iterator[Check]:
        yield _state_directory(state_dir())
        yield self._files()
        targets = {}
        for name, url in self._urls().items():
            try:
                targets[name] = parse_url(url)
                way_to(targets[name], os.environ)
            except KrakenWSError as error:
                targets.pop(name, None)
                yield _failed(f"{name} URL", error, f"correct --{name}-url, or the proxy")
        yield from self._budget({target.site: target for n, target in targets.items() if n != "rest"})
        yield _proxies(targets)
        yield from self._names(targets)
        for name in ("public", "private", "rest"):
            if name in targets:
                yield from self._endpoint(name, targets[name])
        yield self._status()
        yield self._clock()
        yield from self._key()

    def _urls(self) -> dict[str, str]:
        """The three endpoints; REST in the words of WebSocket URLs, for it shares names, proxy and TLS."""
        rest = self._options.rest_url
        return {
            "public": self._options.public_url.rstrip("/") + V1.path,
            "private": self._options.private_url.rstrip("/") + V1.path,
            "rest": f"ws{rest.removeprefix('http')}" if rest.startswith("http") else rest,
        }

    def _bounded(self, work: Callable[[], T], what: str) -> T:
        return bounded(work, self._options.connect_timeout_s + 1.0, what)

    # ---- this machine

    def _files(self) -> Check:
        """Say which files others can read that hold secrets or state."""
        state = state_dir()
        kept = [os.path.join(state, name) for name in ("state.db", "connections")]
        secrets = self._credentials.files() if not self._context.plays else []
        files = [path for path in (*secrets, *kept) if os.path.exists(path)]
        exposed = [path for path in files if _is_exposed(path)]
        if exposed:
            message = f"others can read {', '.join(exposed)}"
            return Check("file modes", WARNING, message, f"run chmod 600 {' '.join(map(quote, exposed))}")
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        return Check("file modes", OK, f"{count}, private" if files else "no files yet")

    def _budget(self, sites: Mapping[str, Target]) -> Iterator[Check]:
        budget = self._context.budget()
        if budget is None:
            yield Check("budget", OK, "not counted: a sandbox bans nobody")
            return
        for site in sites:
            yield self._spent(budget, site)

    def _spent(self, budget: ConnectionBudget, site: str) -> Check:
        what = f"budget {site}"
        try:
            used = budget.used(site)
        except OSError as error:
            message = f"{budget.path} cannot be read: {(error.strerror or str(error)).lower()}"
            return Check(what, WARNING, message, "make it readable and writable, or remove it")
        limit, minutes = self._options.attempts, self._options.attempts_window_s / 60
        message = f"{used} of {limit} connections in the last {minutes:g} minutes"
        fix = "find what connects again and again: a loop of short runs, or many programs at once"
        if used >= limit:
            return Check(what, FAILED, message, fix, ConnectionFailed.exit_code)
        if used >= limit * _NEARLY_SPENT:
            return Check(what, WARNING, message, fix)
        return Check(what, OK, message)

    # ---- the way

    def _names(self, targets: Mapping[str, Target]) -> Iterator[Check]:
        ways = {way_to(target, os.environ): _is_proxied(target) for target in targets.values()}
        for way, proxied in ways.items():
            host, port = way
            began = monotonic()
            try:
                self._addresses[way] = addresses_of(host, port, self._options.connect_timeout_s)
            except ConnectionFailed as error:
                own = "if this machine is online, look at its name server"
                yield _failed(f"name {host}", error, _MEND_PROXY if proxied else own)
                continue
            if not is_address(host):
                found = ", ".join(dict.fromkeys(address for _, (address, _) in self._addresses[way]))
                yield Check(f"name {host}", OK, f"{found} ({_ms(began)})")

    def _endpoint(self, name: str, target: Target) -> Iterator[Check]:
        addresses = self._addresses.get(way_to(target, os.environ))
        what = f"{name} endpoint" if name != "rest" else "REST endpoint"
        if addresses is None:
            whose = "the proxy's" if _is_proxied(target) else "its"
            yield Check(what, SKIPPED, f"{whose} name does not resolve")
            return
        began = monotonic()
        try:
            if name == "rest":
                with Probe(target, addresses, self._options, os.environ) as probe:
                    yield from _certificate(name, target, probe.connect())
                yield self._ask_rest(target)
                return
            budget = self._context.budget()
            wait_s = budget.spend(target.site) if budget else 0.0
            if budget and wait_s:
                yield Check(what, SKIPPED, budget.spent(target.site, wait_s))
                return
            probe = self._stack.enter_context(Probe(target, addresses, self._options, os.environ))
            yield from _certificate(name, target, probe.connect())
            probe.upgrade()
            status = probe.hear(d.STATUS).status
        except KrakenWSError as error:
            yield _failed(what, error, _remedy(error, name, target))
            return
        self._statuses.append(status)
        if name == "private":
            self._private = probe
        yield Check(what, OK, f"{target.shown} greets ({_ms(began)})")

    def _ask_rest(self, target: Target) -> Check:
        rest = RestClient(self._options, self._context.redactor)
        began = monotonic()
        try:
            self._statuses.append(self._bounded(rest.system_status, f"{target.shown} did not answer"))
        except KrakenWSError as error:
            return _failed("REST endpoint", error, _remedy(error, "rest", target))
        self._rest = rest
        return Check("REST endpoint", OK, f"{target.shown} answers ({_ms(began)})")

    # ---- the exchange

    def _status(self) -> Check:
        if not self._statuses:
            doubt = "" if self._addresses else "; this machine may be offline"
            return Check("system status", SKIPPED, f"nothing of the exchange was reached{doubt}")
        trouble = [status for status in self._statuses if status != "online"]
        if trouble:
            message = f"the exchange is in {trouble[0].replace('_', ' ')}"
            return Check("system status", WARNING, message, "wait; see https://status.kraken.com")
        return Check("system status", OK, "online")

    def _clock(self) -> Check:
        """Compare clocks: the exchange tells whole seconds, and the answer took a while to come."""
        if self._rest is None:
            return Check("clock", SKIPPED, "REST, which tells the time, did not answer")
        before = time()
        try:
            unix = self._bounded(self._rest.unix_time, "REST did not tell the time")
        except KrakenWSError as error:
            return _failed("clock", error, "try again")
        after = time()
        ahead_s = (before + after - 2 * unix - 1) / 2
        doubt_s = (after - before + 1) / 2
        message = (
            f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the exchange, ± {doubt_s:.1f} s"
            f" (round trip {(after - before) * 1000:.0f} ms)"
        )
        fix = "set this machine's clock by NTP: nonces, deadlines of orders and certificates depend on it"
        if abs(ahead_s) - doubt_s > _CLOCK_FAILED_S:
            return Check("clock", FAILED, message, fix, 9)
        if abs(ahead_s) - doubt_s > _CLOCK_WARNING_S:
            return Check("clock", WARNING, message, fix)
        return Check("clock", OK, message)

    # ---- key and token

    def _key(self) -> Iterator[Check]:
        credentials = self._credentials
        token, unusable = None, None
        try:
            token = credentials.stored_token()
        except CredentialsError as error:
            unusable = _failed("token", error, "fetch another with krakenws token, or remove it")
        if credentials.has_key():
            fresh = yield from self._permissions()
            token = token or fresh
        elif token:
            yield Check("key", OK, f"none; there is a token from {token.source}")
        else:
            yield Check(
                "key",
                WARNING,
                "there is no API key, and without a token market data is all there is",
                'make a key with the permission "WebSocket interface" at Kraken and set KRAKEN_API_KEY and'
                " KRAKEN_API_SECRET",
            )
        if unusable:
            yield unusable
        elif token:
            yield self._token(token)

    def _permissions(self) -> Generator[Check, None, Token | None]:
        """Say what the key may do, as far as calls that change nothing can tell; return a fresh token."""
        try:
            key = self._credentials.find_key()
        except CredentialsError as error:
            yield _failed("key", error, "correct it, then look again")
            return None
        yield Check("key", OK, f"from {key.source}")
        rest = self._rest
        if rest is None:
            yield Check("permissions", SKIPPED, "REST, which knows them, did not answer")
            return None
        token = None
        try:
            token = self._bounded(self._credentials.renew, "Kraken gave no token")
            yield Check("WebSocket interface", OK, "the key may fetch tokens")
        except KrakenWSError as error:
            yield _refused("WebSocket interface", error)
            if "Permission denied" not in str(error):
                return None
        nonce = self._credentials.nonce_of(key)
        for path, permission, channel in _READS:
            try:
                self._bounded(partial(rest.private, path, {}, key, nonce), f"no answer to {path}")
                yield Check(permission, OK, f"granted, as {channel} needs")
            except CredentialsError as error:
                yield Check(permission, WARNING, str(error), f"leave it so, unless you use {channel}")
            except KrakenWSError as error:
                yield Check(permission, SKIPPED, f"Kraken did not tell: {error}")
        return token

    def _token(self, token: Token) -> Check:
        if self._private is None:
            return Check("token", SKIPPED, "the private endpoint, which would tell, was not reached")
        frame = V1.subscribe(OPEN_ORDERS, {}, (), token.text.reveal())
        try:
            error = self._private.ask(frame, d.ACK).error
        except KrakenWSError as failed:
            return _failed("token", failed, "try again")
        if not error or "Permission denied" in error:
            return Check("token", OK, f"from {token.source}: accepted by the private endpoint")
        if "unavailable on this endpoint" in error:
            said = f"the private endpoint is a public one: {error}"
            return Check("token", FAILED, said, "correct --private-url", UsageError.exit_code)
        message = f"from {token.source}: {self._context.redactor.clean(error)}"
        if token.renewable:
            return Check("token", WARNING, message, "remove it: a fresh one is fetched with the key")
        return Check(
            "token", FAILED, message, "fetch another with krakenws token", CredentialsError.exit_code
        )


def _state_directory(path: str) -> Check:
    """Whether the directory of what must outlive a run can be written."""
    what = "state directory"
    fix = f"make {quote(path)} yours and writable, or name another place in XDG_STATE_HOME"
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        trial = os.path.join(path, f"doctor.{os.urandom(4).hex()}")
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(trial)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Check(what, FAILED, f"{path} cannot be written: {reason}", fix, 7)
    if _is_exposed(path, stat.S_IWGRP | stat.S_IWOTH):
        return Check(what, WARNING, f"{path} can be written by others", f"run chmod 700 {quote(path)}")
    return Check(what, OK, path)


def _is_exposed(path: str, bits: int = 0o077) -> bool:
    return os.name == "posix" and bool(os.stat(path).st_mode & bits)


def _proxies(targets: Mapping[str, Target]) -> Check:
    ways: dict[str, dict[str, None]] = {}
    for target in targets.values():
        if proxy := proxy_of(target, os.environ):
            ways.setdefault(f"{proxy[0]}:{proxy[1]}", {})[target.shown] = None
    used = [f"{', '.join(names)} through {proxy}" for proxy, names in ways.items()]
    return Check("proxy", OK, "; ".join(used) or "none")


def _is_proxied(target: Target) -> bool:
    return proxy_of(target, os.environ) is not None


def _certificate(name: str, target: Target, certificate: Mapping[str, Any]) -> Iterator[Check]:
    """Tell how long the certificate of an endpoint lasts; there is none without TLS."""
    if not certificate:
        return
    from ssl import cert_time_to_seconds

    until_s = cert_time_to_seconds(str(certificate["notAfter"]))
    left_s = until_s - time()
    what = f"certificate {target.host} ({name})"
    names = {field: value for part in certificate.get("issuer", ()) for field, value in part}
    issuer = names.get("organizationName") or names.get("commonName") or "an unnamed authority"
    message = f"trusted, by {issuer}, until {strftime('%Y-%m-%d', gmtime(until_s))}"
    if left_s < _EXPIRES_S:
        fix = "renew it, if it is yours; a proxy's is its owner's to renew"
        yield Check(what, WARNING, f"{message}, in {left_s / 86400:.0f} days", fix)
    else:
        yield Check(what, OK, message)


def _remedy(error: KrakenWSError, name: str, target: Target) -> str:
    status = getattr(error, "http_status", None)
    if status == 403:
        return "wait some minutes without connecting: the address is blocked, or your region is not served"
    if status is not None:
        return "wait, and try again: what answers there is not the exchange itself"
    if "certificate" in str(error):
        return "check this machine's clock, what stands between here and there, and --cafile"
    if _is_proxied(target):
        return _MEND_PROXY
    return f"check the network, a firewall, and --{name}-url"


def _failed(what: str, error: KrakenWSError, fix: str) -> Check:
    return Check(what, FAILED, str(error), fix, error.exit_code)


def _refused(what: str, error: KrakenWSError) -> Check:
    """Part what REST's refusals say: what happened, Kraken's words in parentheses, and what mends it."""
    message, parted, fix = str(error).rpartition("): ")
    if not parted:
        return _failed(what, error, "try again; if it stays so, see https://status.kraken.com")
    return Check(what, FAILED, f"{message})", fix, error.exit_code)


def _ms(began: float) -> str:
    return f"{(monotonic() - began) * 1000:.0f} ms"


# ---- telling


def _tell(context: Context, check: Check) -> None:
    message = shown(context.redactor.clean(check.message), _LONGEST)
    fix = check.fix and shown(context.redactor.clean(check.fix), _LONGEST)
    if context.output == "json":
        fields = {"event": "check", "check": check.check, "state": check.state, "message": message}
        _write_json(context, {**fields, **({"fix": fix} if fix else {})})
    else:
        context.out.write(f"{check.state:<8} {check.check}: {message}{fix and f'; {fix}'}\n".encode())


def _conclude(context: Context, counts: Mapping[str, int], code: int) -> None:
    if context.output == "json":
        _write_json(context, {"event": "checked", **counts, "code": code})
        return
    told = [f"{count} {state}" for state, count in counts.items() if count]
    context.out.write(f"{', '.join(told)}\n".encode())


def _write_json(context: Context, fields: Mapping[str, object]) -> None:
    from json import dumps

    context.out.write(f"{dumps(fields, separators=(',', ':'), ensure_ascii=False)}\n".encode())
