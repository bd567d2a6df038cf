"""API keys, their nonces, and the WebSocket tokens made with them, as the exchange sees them.

A signed call is checked in this order: lockout, key, signature, nonce, second factor. So only
a call that its owner made can use up a nonce or tell whether one was used. Mistakes are counted by key and
address, all unknown keys as one; too many lock that key out at that address, and one call that succeeds
forgives them.

A deliberate difference: Kraken keeps one largest nonce for a key, so that milliseconds are refused for good
after one nonce in nanoseconds. Here all programs share the demo key, whatever unit each counts in. So the
largest nonce is kept for each unit, which is told by the number's size.

A token must begin a private subscription within fifteen minutes; it then lives as long as one does. A token
used for requests alone is good for its fifteen minutes.

Source: auth.md sections 1 to 4. Kraken documents neither the order of checks nor what locks out; chosen here.
Nor does it say what answers a missing second factor: npm-kraken-api #61 and krakenex #50 saw a denial.
"""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_right
from hmac import compare_digest

from krakenws.core.signing import secret_bytes, sign
from krakenws.exchange.requests import Refusal
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INVALID_KEY = "EAPI:Invalid key"
INVALID_SIGNATURE = "EAPI:Invalid signature"
INVALID_NONCE = "EAPI:Invalid nonce"
LOCKED_OUT = "EGeneral:Temporary lockout"
PERMISSION_DENIED = "EGeneral:Permission denied"
INVALID_SESSION = "ESession:Invalid session"

QUERY_FUNDS = "Query funds"
QUERY_OPEN = "Query open orders & trades"
QUERY_CLOSED = "Query closed orders & trades"
MODIFY = "Create & modify orders"
CANCEL = "Cancel & close orders"
WEBSOCKETS = "WebSocket interface"
ALL_PERMISSIONS = frozenset({QUERY_FUNDS, QUERY_OPEN, QUERY_CLOSED, MODIFY, CANCEL, WEBSOCKETS})

_ORDER_ENTRY = frozenset({MODIFY, CANCEL})
_CANCELLING = frozenset({CANCEL})
NEEDS = {
    "GetWebSocketsToken": frozenset({WEBSOCKETS}),
    "Balance": frozenset({QUERY_FUNDS}),
    "OpenOrders": frozenset({QUERY_OPEN}),
    "ClosedOrders": frozenset({QUERY_CLOSED}),
    "QueryOrders": frozenset({QUERY_OPEN}),
    "TradesHistory": frozenset({QUERY_CLOSED}),
    "openOrders": frozenset({QUERY_OPEN}),
    "ownTrades": frozenset({QUERY_CLOSED}),
    "balances": frozenset({QUERY_FUNDS}),
    "addOrder": _ORDER_ENTRY,
    "amendOrder": _ORDER_ENTRY,
    "editOrder": _ORDER_ENTRY,
    "cancelOrder": _CANCELLING,
    "cancelAll": _CANCELLING,
    "cancelAllOrdersAfter": _CANCELLING,
}
"""What a key must be allowed for each method or channel; capital letters begin those of REST.

Source: auth.md section 1; order entry wants both rights, as support says.
"""

NONCE_LIMIT = 1 << 64
TOKEN_LIFE_S = 900.0
TOKENS_KEPT = 1000
"""So many tokens wait for their first use at most; then the oldest is void."""
LOCKOUT_S = 900.0
MISTAKES = 20
"""So many of a key's mistakes from one address, each within `LOCKOUT_S` of the one before, lock it out."""
CALLERS_COUNTED = 10_000
"""Of so many keys and addresses mistakes are counted; then the first one's are forgotten."""

_UNITS = (10**12, 10**15, 10**18)
"""Where milli-, micro- and nanoseconds since 1970 begin to be told apart."""

DEMO_KEY = "kRaKeNwSsAnDbOxDeMoKeY+0000000000000000000000000000/nowA"
DEMO_SECRET = b64encode(b"krakenws sandbox: this demo secret is public, it guards nothing.").decode()
DEMO_ACCOUNT = "demo"


@record
class Grant:
    """What a key or a token stands for: an account, and what may be done with it."""

    account: str
    permissions: frozenset[str] = ALL_PERMISSIONS

    def require(self, name: str) -> None:
        """Pass if the method or channel `name` is allowed.

        Raises:
            Refusal: it is not.
        """
        if not NEEDS.get(name, frozenset()) <= self.permissions:
            raise Refusal(PERMISSION_DENIED)


class _Key:
    __slots__ = ("grant", "last_nonces", "nonce_window", "otp", "secret")

    def __init__(self, secret: str, grant: Grant, nonce_window: int, otp: str) -> None:
        self.secret = secret
        self.grant = grant
        self.nonce_window = nonce_window
        self.otp = otp
        self.last_nonces = [-1] * (len(_UNITS) + 1)


class ApiKeys:
    """The keys that the exchange has issued."""

    __slots__ = ("_keys", "_mistakes")

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._mistakes: dict[tuple[str, str], tuple[int, float]] = {}

    def issue(
        self,
        key: str,
        secret_base64: str,
        account: str,
        permissions: Iterable[str] = ALL_PERMISSIONS,
        nonce_window: int = 0,
        *,
        otp: str = "",
    ) -> None:
        """Make a key known, or replace it.

        Args:
            key: the public half.
            secret_base64: the private half, base64 of 64 bytes.
            account: whose it is.
            permissions: what it may be used for.
            nonce_window: how far a nonce may lie behind the largest one, in the nonce's own unit.
            otp: the password that the key demands with each call, its second factor; "" is none.

        Raises:
            CredentialsError: the secret cannot be one.
        """
        secret_bytes(secret_base64)
        self._keys[key] = _Key(secret_base64, Grant(account, frozenset(permissions)), nonce_window, otp)

    def revoke(self, key: str) -> None:
        """Forget a key."""
        self._keys.pop(key, None)

    def authenticate(
        self,
        key: str,
        signature: str,
        path: str,
        nonce: str,
        body: bytes,
        *,
        address: str,
        now: float,
        otp: str = "",
    ) -> Grant:
        """Return what a signed call stands for, and use up its nonce.

        Args:
            key: the header `API-Key`, "" without one.
            signature: the header `API-Sign`, "" without one.
            path: from `/0` on, without query.
            nonce: as text, from the body; ms, µs or ns, rising within its unit.
            body: exactly what was posted.
            address: where the call came from.
            now: monotonic seconds.
            otp: the field of that name in the body, "" without one.

        Raises:
            Refusal: in Kraken's words.
        """
        known = self._keys.get(key)
        caller = ("" if known is None else key, address)
        self._check_lockout(caller, now)
        if known is None:
            raise self._mistake(INVALID_KEY, caller, now)
        if not _is_signed(known.secret, signature, path, nonce, body):
            raise self._mistake(INVALID_SIGNATURE, caller, now)
        if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= 20):
            raise self._mistake(INVALID_NONCE, caller, now)
        number = int(nonce)
        unit = bisect_right(_UNITS, number)
        last = known.last_nonces[unit]
        if not last - known.nonce_window < number < NONCE_LIMIT:
            raise self._mistake(INVALID_NONCE, caller, now)
        known.last_nonces[unit] = max(last, number)
        if known.otp and otp != known.otp:
            raise self._mistake(PERMISSION_DENIED, caller, now)
        self._mistakes.pop(caller, None)
        return known.grant

    def _check_lockout(self, caller: tuple[str, str], now: float) -> None:
        count, last = self._mistakes.get(caller, (0, now))
        if now - last >= LOCKOUT_S:
            self._mistakes.pop(caller, None)
        elif count >= MISTAKES:
            raise Refusal(LOCKED_OUT)

    def _mistake(self, code: str, caller: tuple[str, str], now: float) -> Refusal:
        if len(self._mistakes) >= CALLERS_COUNTED and caller not in self._mistakes:
            del self._mistakes[next(iter(self._mistakes))]
        self._mistakes[caller] = (self._mistakes.get(caller, (0, now))[0] + 1, now)
        return Refusal(code)


def _is_signed(secret: str, signature: str, path: str, nonce: str, body: bytes) -> bool:
    try:
        return compare_digest(sign(secret, path, nonce, body).encode(), signature.encode())
    except UnicodeEncodeError:  # half a surrogate pair, which nobody can have signed
        return False


class _Token:
    __slots__ = ("grant", "subscriptions", "until")

    def __init__(self, grant: Grant, until: float) -> None:
        self.grant = grant
        self.until = until
        self.subscriptions = 0


class Tokens:
    """The WebSocket tokens in force; one may serve any number of connections and subscriptions."""

    __slots__ = ("_tokens", "life_s")

    def __init__(self, life_s: float = TOKEN_LIFE_S) -> None:
        self.life_s = life_s
        self._tokens: dict[str, _Token] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def issue(self, grant: Grant, random: bytes, now: float) -> str:
        """Return a new token: 43 characters from 32 random bytes. The permission is the caller's to check."""
        expired = [
            text for text, held in self._tokens.items() if not held.subscriptions and held.until <= now
        ]
        if not expired and len(self._tokens) >= TOKENS_KEPT:
            expired = [text for text, held in self._tokens.items() if not held.subscriptions][:1]
        for text in expired:
            del self._tokens[text]
        token = b64encode(random).decode().rstrip("=")
        self._tokens[token] = _Token(grant, now + self.life_s)
        return token

    def grant(self, token: str, now: float) -> Grant:
        """Return what a token stands for.

        Raises:
            Refusal: it is unknown, void, or was not used in time.
        """
        held = self._tokens.get(token)
        if held is None or (not held.subscriptions and held.until <= now):
            raise Refusal(INVALID_SESSION)
        return held.grant

    def subscribed(self, token: str) -> None:
        """Keep a token alive: a private subscription was made with it."""
        held = self._tokens.get(token)
        if held is not None:
            held.subscriptions += 1

    def unsubscribed(self, token: str) -> None:
        """A private subscription made with the token has ended."""
        held = self._tokens.get(token)
        if held is not None and held.subscriptions:
            held.subscriptions -= 1

    def void(self, token: str | None = None) -> None:
        """End one token, or all of them, as Kraken's upgrades do (quirk T1)."""
        if token is None:
            self._tokens.clear()
        else:
            self._tokens.pop(token, None)
