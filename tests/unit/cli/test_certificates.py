"""`--tls self`: what is made, for whom, and for how long."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from krakenws.cli.certificates import serving_with
from krakenws.cli.parser import parse
from krakenws.errors import UsageError


@pytest.mark.parametrize(
    ("words", "tls"),
    [
        (["sandbox", "--tls", "self", "--seed", "7"], ("self", "")),
        (["sandbox", "--tls=self"], ("self", "")),
        (["replay", "demo", "--tls", "chain.pem", "key.pem"], ("chain.pem", "key.pem")),
        (["sandbox", "--tls", "chain.pem", "self"], ("chain.pem", "self")),
    ],
)
def test_self_stands_alone_and_anything_else_is_two_words(words: list[str], tls: tuple[str, str]) -> None:
    assert parse(words).settings["tls"] == tls


def test_a_certificate_without_its_key_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"needs CERT KEY\|self"):
        parse(["sandbox", "--tls", "chain.pem"])


def test_what_is_given_is_used_and_nothing_is_made() -> None:
    with serving_with(("chain.pem", "key.pem")) as served:
        assert served == (("chain.pem", "key.pem"), "")
    with serving_with(None) as served:
        assert served == (None, "")


def test_what_is_made_can_serve_and_be_trusted_and_is_gone_in_the_end() -> None:
    with serving_with(("self", "")) as (tls, authority):
        assert tls is not None
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*tls)
        ssl.create_default_context(cafile=authority)
        key = Path(tls[1])
        assert key.parent.stat().st_mode & 0o077 == 0
    assert not key.exists()
    assert not Path(authority).exists()


def test_without_the_package_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(UsageError, match=r"krakenws\[sandbox-tls\]"), serving_with(("self", "")):
        pass
