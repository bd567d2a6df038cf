"""The one redaction point."""

from __future__ import annotations

import copy
import json
import pickle
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krakenws.core import redaction
from krakenws.core.redaction import MASK, Redactor, Secret

TOKEN = "CANARY/1Dwc4lz+SwNWOAwk/Mdqh+ssNNFhs1ed606d1WcF3XfEMw"

# Printable ASCII without white space and the mask's own character, and what JSON writes as surrogates.
secrets = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*") | st.sampled_from("é€😀"),
    min_size=8,
    max_size=60,
)


def _redactor(*texts: str) -> Redactor:
    redactor = Redactor()
    for text in texts:
        redactor.add(text)
    return redactor


def _u_escaped(text: str) -> str:
    """As encoders write that escape more than they must (PHP, HTML-safe JSON)."""
    return "".join(c if c.isalnum() else f"\\u{ord(c):04X}" for c in text)


SPELLINGS = {
    "plain": TOKEN,
    "JSON": json.dumps(TOKEN),
    "JSON with escaped slashes": TOKEN.replace("/", "\\/"),
    "JSON escaped for HTML": _u_escaped(TOKEN),
    "JSON escaped throughout": "".join(f"\\u{ord(c):04x}" for c in TOKEN),
    "JSON in JSON": json.dumps({"frame": json.dumps({"token": TOKEN}).replace("/", "\\/")}),
    "JSON in JSON in JSON": json.dumps(json.dumps(_u_escaped(TOKEN))),
    "percent encoded": quote(TOKEN, safe=""),
    "percent encoded twice": quote(quote(TOKEN, safe=""), safe=""),
    "a form": urlencode({"token": TOKEN, "nonce": 1}),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_secret_is_replaced_however_it_is_spelled(name: str) -> None:
    redactor = _redactor(TOKEN)
    text = f'{{"event":"subscribe","token":"{SPELLINGS[name]}"}} 100% \\o/'
    for cleaned in (redactor.clean(text), redactor.clean_bytes(text.encode()).decode()):
        assert MASK in cleaned
        assert "CANARY" not in cleaned
        assert "ssNNFhs1ed606d1WcF3XfEMw" not in cleaned
        assert cleaned.startswith('{"event":"subscribe","token":"')
        assert cleaned.endswith('"} 100% \\o/')


def test_hexadecimal_digits_of_an_escape_may_have_any_case() -> None:
    redactor = _redactor("secret+/secret")
    assert redactor.clean("secret%2b%2Fsecret") == MASK
    assert redactor.clean("secret\\u002b\\u002Fsecret") == MASK


def test_letters_of_a_secret_must_have_their_case() -> None:
    assert _redactor("SECRETSECRET").clean("secretsecret %") == "secretsecret %"


@given(secrets, st.text(max_size=20), st.text(max_size=20))
@settings(deadline=None)
def test_no_spelling_of_any_secret_survives(secret: str, before: str, after: str) -> None:
    redactor = _redactor(secret)
    forms = [secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret, safe="")]
    forms += [json.dumps(form) for form in forms]
    for form in forms:
        text = f"{before}{form}{after}"
        cleaned = redactor.clean(text)
        assert form.strip('"\\') not in cleaned or form.strip('"\\') in before + after
        assert MASK in cleaned
        assert redactor.clean_bytes(text.encode("utf-8", "surrogatepass")) == cleaned.encode(
            "utf-8", "surrogatepass"
        )


@pytest.mark.parametrize("escape", ["", "\\/", "%2F"])
def test_the_longest_secret_goes_first(escape: str) -> None:
    redactor = _redactor("abcdefgh", "abcdefgh/ijklmnop")
    assert redactor.clean(f"abcdefgh{escape or '/'}ijklmnop") == MASK
    assert redactor.clean(f"abcdefgh {escape}") == f"{MASK} {escape}"


def test_text_without_a_secret_is_left_alone() -> None:
    frame = b'[0,{"a":[["5541.30000","2.50700000","1534614248.123678"]]},"book-10","XBT\\/USD"]'
    assert _redactor(TOKEN).clean_bytes(frame) == frame
    assert Redactor().clean_bytes(frame) is frame
    assert Redactor().clean("as it is") == "as it is"


def test_an_empty_secret_is_ignored_and_a_known_one_counts_once() -> None:
    assert repr(_redactor("", TOKEN, TOKEN)) == "<Redactor of 1 secrets>"


def test_a_secret_added_after_the_first_use_is_redacted_too() -> None:
    redactor = _redactor("first-secret")
    assert redactor.clean("first-secret%") == "***%"
    redactor.add(Secret("second-secret"))
    assert redactor.clean("first-secret%second-secret") == "***%***"


def test_a_long_run_of_backslashes_takes_no_time() -> None:
    assert _redactor("/" * 40).clean("\\" * 20_000) == "\\" * 20_000


def test_a_secret_shows_itself_only_when_revealed() -> None:
    secret = Secret(TOKEN)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>5}", f"{[secret]}", "%s" % secret]  # noqa: UP031
    assert not any("CANARY" in text for text in shown)
    assert secret.reveal() == TOKEN
    assert secret == Secret(TOKEN) != Secret("another")
    assert len({secret, Secret(TOKEN)}) == 1
    for leak in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not pickled"):
            leak(secret)


def test_a_secret_that_another_thread_adds_while_patterns_are_made_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redactor = Redactor()
    redactor.add("first-secret")
    spellings = redaction._spellings

    def slow(character: str) -> str:
        redactor.add("second-secret")
        return spellings(character)

    monkeypatch.setattr(redaction, "_spellings", slow)
    redactor.clean(r"compiles \ here")
    assert redactor.clean(r"first-secret \ second-secret") == r"*** \ ***"
