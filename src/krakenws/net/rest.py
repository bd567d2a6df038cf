"""Kraken's REST API as far as a WebSocket client needs it: a token, the list of pairs, signed look-ups.

Blocking, standard library only, one connection a call, no redirects, no retries but one: a nonce that was
refused is replaced once, since another program may have used the same key a moment before. Whether anything
else may be sent again is the caller's to know.

Every answer is `{"error": [...], "result": ...}` at any HTTP status; `error` is looked at first, because
`result` may be absent (quirk T4). Before Kraken stands Cloudflare, which answers in HTML (quirk N2).
"""

from __future__ import annotations

from krakenws.core.redaction import Redactor, Secret
from krakenws.core.signing import secret_bytes, sign
from krakenws.errors import ConnectionFailed, CredentialsError, KrakenWSError, RequestRejected, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext
    from urllib.request import OpenerDirector

    from krakenws.options import Options

TOKEN_PATH = "/0/private/GetWebSocketsToken"  # noqa: S105 - a path, not a token
PAIRS_PATH = "/0/public/AssetPairs"
TIME_PATH = "/0/public/Time"
STATUS_PATH = "/0/public/SystemStatus"

_MAX_BODY_BYTES = 32 * 1024 * 1024
"""Reading stops here; what was cut is then no JSON. All pairs are about 1 MB."""
_PERMISSIONS = {
    TOKEN_PATH: "WebSocket interface",
    "/0/private/Balance": "Query funds",
    "/0/private/OpenOrders": "Query open orders & trades",
    "/0/private/ClosedOrders": "Query closed orders & trades",
}
"""The switch in the key's settings at Kraken that a path needs. Source: auth.md section 1."""


class TryLater(ConnectionFailed):
    """The exchange is there but has no time for us."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class ApiKey:
    """An API key with its secret, both checked for form; `source` says to people where it came from.

    White space that pasting adds is dropped.

    Raises:
        CredentialsError: one of them cannot be what Kraken issues.
    """

    __slots__ = ("key", "secret", "source")

    def __init__(self, key: str, secret: str, source: str) -> None:
        key = "".join(key.split())
        if not (key and key.isascii() and key.isprintable()) or "\\" in key:
            raise CredentialsError(f"the API key from {source} is empty or has characters that no key has")
        try:
            secret_bytes(secret)
        except CredentialsError as error:
            raise CredentialsError(f"{error} (it came from {source})") from None
        self.key = Secret(key)
        self.secret = Secret("".join(secret.split()))
        self.source = source

    @property
    def key_id(self) -> str:
        """A name for the key that does not give it away: what nonces are counted by."""
        import hashlib

        return hashlib.sha256(self.key.reveal().encode()).hexdigest()[:32]

    def __repr__(self) -> str:
        return f"<ApiKey from {self.source}>"


class RestClient:
    """Calls to `options.rest_url`; each may take `options.connect_timeout_s`.

    Keys and tokens that pass through are registered with `redactor`, and every message is cleaned by it.

    Raises:
        UsageError: the URL is not https (or http on loopback), or `options.cafile` cannot be read.
    """

    __slots__ = ("_base", "_host", "_local", "_opener", "_options", "_redactor")

    def __init__(self, options: Options, redactor: Redactor | None = None) -> None:
        self._options = options
        self._redactor = redactor or Redactor()
        self._base, self._host, self._local = _checked_url(options.rest_url)
        self._opener: OpenerDirector | None = None

    def public(self, path: str, query: Mapping[str, str] | None = None) -> object:
        """Return the `result` of a public call (GET); numbers with a fraction stay text.

        Raises:
            ConnectionFailed: no answer, or none that is Kraken's.
            RequestRejected: Kraken refused it.
        """
        from urllib.parse import urlencode

        errors, result = self._call(path + (f"?{urlencode(query)}" if query else ""), None, {})
        if errors:
            raise self._refusal(path, errors, "")
        return result

    def private(self, path: str, fields: Mapping[str, str], key: ApiKey, nonce: Callable[[], int]) -> object:
        """Return the `result` of a signed call (POST, form encoded).

        Args:
            path: from `/0` on.
            fields: the parameters without the nonce.
            key: whose call it is.
            nonce: gives a new, larger nonce at each call (`State.next_nonce`).

        Raises:
            ConnectionFailed: no answer, or none that is Kraken's; whether the call changed something is then
                unknown.
            CredentialsError: Kraken refused the key, its signature, its nonce twice, or its permissions.
            RequestRejected: Kraken refused the call for another reason.
        """
        from urllib.parse import urlencode

        self._redactor.add(key.key)
        self._redactor.add(key.secret)
        errors: list[str] = []
        for _ in range(2):
            number = str(nonce())
            body = urlencode({"nonce": number, **fields})
            headers = {
                "API-Key": key.key.reveal(),
                "API-Sign": sign(key.secret.reveal(), path, number, body),
                "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            }
            errors, result = self._call(path, body.encode(), headers)
            if not errors:
                return result
            if not errors[0].startswith("EAPI:Invalid nonce"):
                break
        raise self._refusal(path, errors, key.source)

    def websockets_token(self, key: ApiKey, nonce: Callable[[], int]) -> Secret:
        """Return a fresh token for private connections, to be used within 15 minutes.

        Raises:
            ConnectionFailed: as `private`; asking again is harmless.
            CredentialsError: as `private`.

        Source: auth.md section 1.
        """
        result = self.private(TOKEN_PATH, {}, key, nonce)
        token = result.get("token") if isinstance(result, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            raise ConnectionFailed(f"{self._host} answered {TOKEN_PATH} without a usable token")
        self._redactor.add(token)
        return Secret(token)

    def unix_time(self) -> int:
        """Return the exchange's clock in whole seconds since 1970. Source: auth.md section 5.2."""
        result = self.public(TIME_PATH)
        unix = result.get("unixtime") if isinstance(result, dict) else None
        if type(unix) is not int:
            raise ConnectionFailed(f"{self._host} answered {TIME_PATH} without a time")
        return unix

    def system_status(self) -> str:
        """Return the exchange's state: online, maintenance, cancel_only … Source: auth.md section 5.1."""
        result = self.public(STATUS_PATH)
        status = result.get("status") if isinstance(result, dict) else None
        if not isinstance(status, str):
            raise ConnectionFailed(f"{self._host} answered {STATUS_PATH} without a status")
        return _printable(status)

    def asset_pairs(self) -> dict[str, object]:
        """Return the exchange's pairs by REST key, as sent. Source: auth.md section 5.3."""
        result = self.public(PAIRS_PATH)
        if not isinstance(result, dict) or not result:
            raise ConnectionFailed(f"{self._host} answered {PAIRS_PATH} without a list of pairs")
        return result

    def _call(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[list[str], object]:
        """Return Kraken's errors (warnings left out) and its result, which is None beside an error."""
        import json

        status, data = self._exchange(path, body, headers)
        try:
            answer = json.loads(data, parse_float=str)
        except (ValueError, RecursionError):
            answer = None
        errors = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(errors, list):
            raise ConnectionFailed(self._not_ours(path, status, data), http_status=status)
        failures = [str(error) for error in errors if not str(error).startswith("W")]
        if not failures and (status >= 300 or "result" not in answer):
            raise ConnectionFailed(self._not_ours(path, status, data), http_status=status)
        return failures, None if failures else answer["result"]

    def _exchange(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Return HTTP status and body, whatever they are."""
        import time
        from http.client import HTTPException
        from ssl import SSLCertVerificationError
        from urllib.error import URLError
        from urllib.request import Request

        from krakenws import __version__

        request = Request(self._base + path, data=body, headers=dict(headers))
        request.add_header("User-Agent", f"krakenws/{__version__}")
        timeout_s = self._options.connect_timeout_s
        deadline = time.monotonic() + timeout_s
        if self._opener is None:
            self._opener = self._make_opener()
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                data = bytearray()
                while (chunk := response.read1(65536)) and len(data) <= _MAX_BODY_BYTES:
                    data += chunk
                    # The socket's time-out is one of silence: a trickle of bytes would never end.
                    _check(deadline)
                return response.status, bytes(data)
        except (OSError, HTTPException, UnicodeError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise ConnectionFailed(
                self._redactor.clean(self._unreachable(reason)),
                retryable=not isinstance(reason, SSLCertVerificationError),
            ) from None

    def _make_opener(self) -> OpenerDirector:
        """Return an opener that knows http, https and proxies, and neither redirects nor other schemes.

        Without urllib's error processor, an answer of any status comes back as an ordinary response.
        """
        from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler

        opener = OpenerDirector()
        # What goes to loopback in the clear must not leave the machine through a proxy.
        opener.add_handler(ProxyHandler({} if self._local else _proxies()))
        opener.add_handler(HTTPHandler())
        if self._base.startswith("https:"):
            opener.add_handler(HTTPSHandler(context=_tls_context(self._options.cafile)))
        return opener

    def _unreachable(self, reason: BaseException | str) -> str:
        import socket
        import ssl
        from http.client import HTTPException

        host = self._host
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {host} is not trusted ({reason.verify_message}):"
                " if its authority is your own, name it with --cafile"
            )
        if isinstance(reason, TimeoutError):
            return f"{host} did not answer within {self._options.connect_timeout_s:g} s: try again later"
        if isinstance(reason, socket.gaierror | UnicodeError):
            return f"the address of {host} was not found: check the network and --rest-url"
        if isinstance(reason, ConnectionRefusedError):
            return f"{host} refused the connection: check that a server is there (--rest-url)"
        if isinstance(reason, ssl.SSLError):
            return f"no secure connection to {host} could be made ({reason.reason}): check --rest-url"
        if isinstance(reason, HTTPException):
            return f"{host} did not answer in proper HTTP ({type(reason).__name__}): check --rest-url"
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        return f"{host} could not be reached ({_printable(text)}): check the network"

    def _not_ours(self, path: str, status: int, data: bytes) -> str:
        words = _first_words(self._redactor.clean_bytes(data))  # cleaned first: half a secret is not found
        if b"token" in data:  # a broken answer may hold a fresh one, which the redactor does not know yet
            words = "not shown: it may hold a token"
        hint = "; redirects are not followed, check --rest-url" if 300 <= status < 400 else ""
        return (
            f"{self._host} answered {path.partition('?')[0]} with HTTP status {status} and no result"
            f" ({words or 'an empty page'}){hint}"
        )

    def _refusal(self, path: str, errors: list[str], source: str) -> KrakenWSError:
        text = _printable(self._redactor.clean("; ".join(errors)))[:200]
        return _refusal(path, errors[0], text, source)


def _check(deadline: float) -> None:
    import time

    if time.monotonic() > deadline:
        raise TimeoutError


def _refusal(path: str, code: str, text: str, source: str) -> KrakenWSError:
    """Turn Kraken's error into the exception that says what to do. Source: auth.md section 4."""
    kind = code.removeprefix("E")
    if kind.startswith("API:Invalid key"):
        return CredentialsError(
            f"Kraken does not know the API key from {source}, or not from this address ({text}):"
            " check the key and its list of addresses"
        )
    if kind.startswith("API:Invalid signature"):
        return CredentialsError(
            f"the API secret from {source} does not belong to its key ({text}): copy both again"
        )
    if kind.startswith("API:Invalid nonce"):
        return CredentialsError(
            f"Kraken has seen a larger nonce from this API key ({text}): another program uses it;"
            f" make a key for krakenws alone and put it into {source}"
        )
    if kind.startswith("General:Permission denied"):
        permission = _PERMISSIONS.get(path)
        need = f'the permission "{permission}"' if permission else f"a permission that {path} needs"
        return CredentialsError(
            f"the API key from {source} lacks {need} ({text}): switch it on in the key's settings at Kraken"
        )
    wait_s = _wait_s(kind)
    if wait_s:
        return TryLater(f"Kraken cannot answer {path} now ({text}): try again in {wait_s:.0f} s", wait_s)
    if kind.startswith("Auth:"):
        return CredentialsError(f"Kraken refused the account of the API key from {source} ({text})")
    return RequestRejected(f"Kraken refused {path} ({text})", code=text)


def _wait_s(kind: str) -> float:
    """Return how long an error asks us to wait, 0.0 if waiting does not mend it."""
    if kind.startswith("General:Temporary lockout"):
        return 900.0
    if kind.startswith(("API:Rate limit", "Auth:Rate limit", "Auth:Too many", "General:Too many")):
        return 15.0
    if kind.startswith("Service:Throttled"):
        import time

        until = kind.rpartition(":")[2].strip()
        left_s = int(until) - time.time() if until.isdecimal() and len(until) < 12 else 5.0
        return min(max(left_s, 5.0), 900.0)
    return 5.0 if kind.startswith(("Service:", "General:Internal error")) else 0.0


def _checked_url(url: str) -> tuple[str, str, bool]:
    """Return the URL without a trailing slash, host and port for messages, and whether it is this machine.

    Raises:
        UsageError: it is no http or https URL, carries a password, or is plain http to another machine.
    """
    from urllib.parse import urlsplit

    from krakenws.net.target import is_loopback

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not host or not plain:
        raise UsageError("--rest-url is not a URL such as https://api.kraken.com")
    if "@" in parts.netloc:
        raise UsageError("--rest-url must not carry a user or password")
    local = is_loopback(host)
    if parts.scheme == "http" and not local:
        raise UsageError(
            f"--rest-url=http://{host} is not encrypted: use https:// (http:// only for loopback)"
        )
    return url.rstrip("/"), f"{host}:{port}" if port else host, local


def _proxies() -> dict[str, str]:
    """Return the environment's proxies; `ALL_PROXY` serves where `HTTPS_PROXY` is not set.

    Raises:
        UsageError: the proxy does not speak HTTP; urllib would send it garbage.
    """
    from urllib.request import getproxies

    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy:
        return {}
    if "://" in proxy and not proxy.startswith("http://"):
        scheme = proxy.partition("://")[0]
        raise UsageError(f"the proxy of HTTPS_PROXY or ALL_PROXY is {scheme}://: only http:// is supported")
    return {"https": proxy}


def _tls_context(cafile: str | None) -> SSLContext:
    import ssl

    context = ssl.create_default_context()
    if cafile is not None:
        try:
            context.load_verify_locations(cafile=cafile)
        except OSError as error:  # SSLError is one
            reason = "no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"--cafile={cafile} cannot be used: {reason}") from None
    return context


def _first_words(data: bytes) -> str:
    """Return the title of an HTML page, else the first words of the text."""
    import re

    text = data[:4096].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    if title and title[1].strip():
        text = title[1]
    text = re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    words = _printable(text)
    return words if len(words) <= 80 else words[:79] + "…"


def _printable(text: str) -> str:
    """Return the text on one line, without anything that could steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
