"""Signed calls, nonces, lockout and tokens as the exchange judges them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from krakenws.core.signing import sign
from krakenws.errors import CredentialsError
from krakenws.exchange.keys import (
    ALL_PERMISSIONS,
    CANCEL,
    DEMO_ACCOUNT,
    DEMO_KEY,
    DEMO_SECRET,
    INVALID_KEY,
    INVALID_NONCE,
    INVALID_SIGNATURE,
    LOCKED_OUT,
    LOCKOUT_S,
    MISTAKES,
    MODIFY,
    NEEDS,
    PERMISSION_DENIED,
    TOKEN_LIFE_S,
    WEBSOCKETS,
    ApiKeys,
    Grant,
    Tokens,
)
from krakenws.exchange.requests import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/0/private/GetWebSocketsToken"
SAMPLE = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


def _call(
    keys: ApiKeys, nonce: int | str, *, now: float = 0, secret: str = DEMO_SECRET, key: str = DEMO_KEY
) -> Grant:
    body = f"nonce={nonce}".encode()
    signature = sign(secret, PATH, str(nonce), body)
    return keys.authenticate(key, signature, PATH, str(nonce), body, address="127.0.0.1", now=now)


def _code(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    return caught.value.code


@pytest.fixture
def keys() -> ApiKeys:
    keys = ApiKeys()
    keys.issue(DEMO_KEY, DEMO_SECRET, DEMO_ACCOUNT)
    return keys


def test_a_signed_call_stands_for_its_account(keys: ApiKeys) -> None:
    assert _call(keys, 1) == Grant(DEMO_ACCOUNT, ALL_PERMISSIONS)


def test_the_demo_key_has_the_form_of_krakens() -> None:
    assert len(DEMO_KEY) == 56
    assert len(base64.b64decode(DEMO_SECRET, validate=True)) == 64


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (
            b"nonce=1616492376594",
            "+mRDmY9Ks0Moc1zjv/BjfvYa98buO0x1yHChZR5onlfAzAUbfIYlLggUZzdQ0RsmXm4Sh+Q8iAIZdo2wSeHeiA==",
        ),
        (
            b'{"nonce":"1616492376594"}',
            "HPdpJhpIrtLjJZVt+Hh9BfWStC+WBySrpgTLHtVBJ7ZH9UdJOtersnssuRGVwxefF6bnUPz24Bq23UUmUtafXg==",
        ),
    ],
)
def test_the_signatures_of_the_specification_are_accepted(body: bytes, signature: str) -> None:
    """The vectors of auth.md section 2, as a form and as JSON."""
    keys = ApiKeys()
    keys.issue("key", SAMPLE, "someone")
    grant = keys.authenticate("key", signature, PATH, "1616492376594", body, address="", now=0)
    assert grant.account == "someone"


def test_a_body_that_is_not_text_is_judged_by_its_bytes(keys: ApiKeys) -> None:
    body = b"nonce=1&x=\xff"
    signature = sign(DEMO_SECRET, PATH, "1", body)
    assert keys.authenticate(DEMO_KEY, signature, PATH, "1", body, address="", now=0).account == DEMO_ACCOUNT


def test_mistakes_are_told_apart(keys: ApiKeys) -> None:
    assert _code(lambda: _call(keys, 1, key="unknown")) == INVALID_KEY
    assert _code(lambda: _call(keys, 1, key="")) == INVALID_KEY
    assert _code(lambda: _call(keys, 1, secret=SAMPLE)) == INVALID_SIGNATURE
    without_or_garbled = ["", "Ä", "x" * 88]
    for signature in without_or_garbled:
        code = _code(
            lambda text=signature: keys.authenticate(DEMO_KEY, text, PATH, "1", b"", address="", now=0)  # type: ignore[misc]
        )
        assert code == INVALID_SIGNATURE


@pytest.mark.parametrize("unit", [10**3, 10**6, 10**9])
def test_a_nonce_may_count_milli_micro_or_nanoseconds(keys: ApiKeys, unit: int) -> None:
    for step in range(3):
        _call(keys, 1_795_000_000 * unit + step)


def test_clients_that_count_in_different_units_share_a_key(keys: ApiKeys) -> None:
    for unit in (10**9, 10**6, 10**3):
        _call(keys, 1_795_000_000 * unit)
    for unit in (10**3, 10**9, 10**6):
        assert _code(lambda nonce=1_795_000_000 * unit: _call(keys, nonce)) == INVALID_NONCE  # type: ignore[misc]
        _call(keys, 1_795_000_001 * unit)


def test_half_a_surrogate_pair_signs_nothing(keys: ApiKeys) -> None:
    for signature, nonce in (("x", "\ud800"), ("\ud800", "1")):
        code = _code(
            lambda s=signature, n=nonce: keys.authenticate(DEMO_KEY, s, PATH, n, b"", address="", now=0)  # type: ignore[misc]
        )
        assert code == INVALID_SIGNATURE


@pytest.mark.parametrize("nonce", ["", "-1", "1.5", "٣", "1 ", "0x9", 1 << 64, "9" * 5000])
def test_what_is_no_unsigned_64_bit_number_is_no_nonce(keys: ApiKeys, nonce: int | str) -> None:
    assert _code(lambda: _call(keys, nonce)) == INVALID_NONCE


def test_the_largest_and_the_smallest_nonce_are_good(keys: ApiKeys) -> None:
    _call(keys, 0)
    _call(keys, (1 << 64) - 1)


def test_only_the_owner_can_use_up_a_nonce(keys: ApiKeys) -> None:
    assert _code(lambda: _call(keys, 1000, secret=SAMPLE)) == INVALID_SIGNATURE
    _call(keys, 1)


def test_a_window_lets_late_nonces_in() -> None:
    keys = ApiKeys()
    keys.issue(DEMO_KEY, DEMO_SECRET, DEMO_ACCOUNT, nonce_window=10)
    _call(keys, 100)
    _call(keys, 91)
    assert _code(lambda: _call(keys, 90)) == INVALID_NONCE


def test_too_many_mistakes_lock_a_key_out_at_an_address_for_fifteen_minutes(keys: ApiKeys) -> None:
    keys.issue("another", DEMO_SECRET, DEMO_ACCOUNT)
    for second in range(MISTAKES):
        assert _code(lambda now=second: _call(keys, 1, secret=SAMPLE, now=now)) == INVALID_SIGNATURE  # type: ignore[misc]
    last = MISTAKES - 1
    assert _code(lambda: _call(keys, 1, now=last + LOCKOUT_S - 1)) == LOCKED_OUT
    body = b"nonce=1"
    elsewhere = keys.authenticate(
        DEMO_KEY, sign(DEMO_SECRET, PATH, "1", body), PATH, "1", body, address="other", now=last
    )
    assert elsewhere.account == DEMO_ACCOUNT
    _call(keys, 1, key="another", now=last)
    _call(keys, 2, now=last + LOCKOUT_S)


def test_unknown_keys_are_locked_out_as_one(keys: ApiKeys) -> None:
    for number in range(MISTAKES):
        assert _code(lambda key=f"unknown-{number}": _call(keys, 1, key=key)) == INVALID_KEY  # type: ignore[misc]
    assert _code(lambda: _call(keys, 1, key="unknown")) == LOCKED_OUT
    _call(keys, 1)


def test_a_call_that_succeeds_forgives_mistakes(keys: ApiKeys) -> None:
    for nonce in range(1, 2 * MISTAKES):
        assert _code(lambda: _call(keys, 1, secret=SAMPLE)) == INVALID_SIGNATURE
        _call(keys, nonce)


def test_a_revoked_key_is_unknown(keys: ApiKeys) -> None:
    keys.revoke(DEMO_KEY)
    assert _code(lambda: _call(keys, 1)) == INVALID_KEY


def test_a_secret_that_cannot_be_one_is_not_issued() -> None:
    with pytest.raises(CredentialsError):
        ApiKeys().issue("key", "short", "someone")


def test_a_missing_permission_is_denied_by_name() -> None:
    Grant("a", frozenset({WEBSOCKETS})).require("GetWebSocketsToken")
    Grant("a", frozenset()).require("SystemStatus")
    for name, needs in NEEDS.items():
        Grant("a", needs).require(name)
        for one in needs:
            assert _code(lambda n=name, p=needs - {one}: Grant("a", p).require(n)) == (  # type: ignore[misc]
                "EGeneral:Permission denied"
            )


def test_order_entry_needs_both_rights_and_cancelling_one() -> None:
    assert NEEDS["addOrder"] == {MODIFY, CANCEL}
    assert NEEDS["cancelAllOrdersAfter"] == {CANCEL}


# Tokens

GRANT = Grant("someone")


def test_a_token_is_43_characters_that_stand_for_its_grant() -> None:
    tokens = Tokens()
    token = tokens.issue(GRANT, bytes(range(32)), now=0)
    assert len(token) == 43
    assert tokens.grant(token, now=0) == GRANT
    assert _code(lambda: tokens.grant("guessed", now=0)) == "ESession:Invalid session"


def test_a_token_must_begin_a_subscription_within_fifteen_minutes() -> None:
    tokens = Tokens()
    token = tokens.issue(GRANT, bytes(32), now=100)
    tokens.grant(token, now=100 + TOKEN_LIFE_S - 0.1)
    assert _code(lambda: tokens.grant(token, now=100 + TOKEN_LIFE_S)) == "ESession:Invalid session"


def test_a_subscription_keeps_a_token_alive_and_its_end_ends_it() -> None:
    tokens = Tokens()
    token = tokens.issue(GRANT, bytes(32), now=0)
    tokens.subscribed(token)
    tokens.subscribed(token)
    tokens.unsubscribed(token)
    assert tokens.grant(token, now=1e6) == GRANT
    tokens.unsubscribed(token)
    assert _code(lambda: tokens.grant(token, now=1e6)) == "ESession:Invalid session"
    assert tokens.grant(token, now=10) == GRANT, "within its fifteen minutes it could begin another"


def test_tokens_are_void_one_by_one_or_all_at_once() -> None:
    tokens = Tokens()
    first, second, third = (tokens.issue(GRANT, bytes([n]) * 32, now=0) for n in range(3))
    tokens.subscribed(second)
    tokens.void(first)
    assert _code(lambda: tokens.grant(first, now=0)) == "ESession:Invalid session"
    assert tokens.grant(second, now=0) == tokens.grant(third, now=0) == GRANT
    tokens.void()
    assert _code(lambda: tokens.grant(second, now=0)) == "ESession:Invalid session"
    tokens.unsubscribed(second)  # the subscription ends later than its token


def test_expired_tokens_are_forgotten() -> None:
    tokens = Tokens(life_s=1)
    kept = tokens.issue(GRANT, b"k" * 32, now=0)
    tokens.subscribed(kept)
    for second in range(50):
        tokens.issue(GRANT, second.to_bytes(32, "big"), now=second)
    assert len(tokens) == 2


def test_a_key_with_a_second_factor_wants_it_with_each_call() -> None:
    keys = ApiKeys()
    keys.issue(DEMO_KEY, DEMO_SECRET, DEMO_ACCOUNT, otp="123456")

    def call(nonce: int, otp: str) -> Grant:
        body = b"nonce=%d&otp=%b" % (nonce, otp.encode())
        signature = sign(DEMO_SECRET, PATH, str(nonce), body)
        return keys.authenticate(
            DEMO_KEY, signature, PATH, str(nonce), body, address="127.0.0.1", now=0, otp=otp
        )

    assert call(1, "123456").account == DEMO_ACCOUNT
    assert [_code(lambda: call(nonce, "12345")) for nonce in range(2, 2 + MISTAKES)] == (  # noqa: B023
        [PERMISSION_DENIED] * MISTAKES
    )
    assert _code(lambda: call(99, "123456")) == LOCKED_OUT
