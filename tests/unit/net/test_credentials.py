"""Where tokens and keys are looked for, and that none of them shows."""

from __future__ import annotations

import base64
import json
import os
import stat
import traceback
from typing import TYPE_CHECKING

import pytest

from krakenws.core.redaction import Redactor, Secret
from krakenws.errors import ConnectionFailed, CredentialsError, KrakenWSError, SinkError
from krakenws.net.credentials import Credentials, Token, store_token
from krakenws.options import Options
from tests.support.rest import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.rest import ScriptedRest

KEY = "CANARYKEY/abcdefgh"
SECRET = base64.b64encode(b"CANARYSECRET" + bytes(52)).decode()
CANARIES = ("CANARY", SECRET[:16])
ENVIRONMENT_KEY = {"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET": SECRET}


class Places:
    """A user's directories in a temporary one."""

    def __init__(self, root: Path, rest_url: str) -> None:
        self.working, self.program, self.config = (root / name for name in ("working", "program", "config"))
        for directory in (self.working, self.program, self.config):
            directory.mkdir()
        self.redactor = Redactor()
        self.nonces: list[str] = []
        self._rest_url = rest_url

    def credentials(
        self,
        environ: dict[str, str] | None = None,
        token_file: Path | None = None,
        key_file: Path | None = None,
    ) -> Credentials:
        return Credentials(
            Options(rest_url=self._rest_url),
            self.redactor,
            self._nonce,
            environ=environ or {},
            working_dir=str(self.working),
            program_dir=str(self.program),
            config_dir=str(self.config),
            token_file=None if token_file is None else str(token_file),
            key_file=None if key_file is None else str(key_file),
        )

    def _nonce(self, key_id: str) -> int:
        self.nonces.append(key_id)
        return len(self.nonces)


def _write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def rest() -> Iterator[ScriptedRest]:
    tokens = [json.dumps({"error": [], "result": {"token": f"CANARY-fetched-{n}"}}) for n in (1, 2, 3)]
    with serve(*tokens) as server:
        yield server


@pytest.fixture
def places(tmp_path: Path, rest: ScriptedRest) -> Places:
    return Places(tmp_path, rest.url)


def _failure(credentials: Credentials) -> KrakenWSError:
    with pytest.raises(KrakenWSError) as caught:
        credentials.find_token()
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(canary in shown for canary in CANARIES)
    assert not str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_places_are_searched_in_order(places: Places) -> None:
    """Each is taken away in turn, and the next one is found."""
    given = _write(places.config / "given", "CANARY-given")
    _write(places.working / "WS_Token", "CANARY-working")
    _write(places.program / "WS_Token", "CANARY-program")
    _write(places.config / "key", f"FILEKEY\n{SECRET}\n")
    environ = {"KRAKENWS_TOKEN": "CANARY-variable", **ENVIRONMENT_KEY}

    def found(token_file: Path | None = None) -> str:
        token = places.credentials(environ, token_file).find_token()
        return f"{token.text.reveal()} {token.source}"

    assert found(given) == f"CANARY-given the file {given}"
    assert found() == "CANARY-variable the environment variable KRAKENWS_TOKEN"
    environ["KRAKENWS_TOKEN"] = " "
    assert found() == f"CANARY-working the file {places.working / 'WS_Token'}"
    (places.working / "WS_Token").unlink()
    assert found() == f"CANARY-program the file {places.program / 'WS_Token'}"
    (places.program / "WS_Token").unlink()
    assert found() == ("CANARY-fetched-1 Kraken, with the API key from KRAKEN_API_KEY and KRAKEN_API_SECRET")
    environ.update({"KRAKEN_API_KEY": "", "KRAKEN_API_SECRET": ""})
    assert found() == f"CANARY-fetched-2 Kraken, with the API key from the file {places.config / 'key'}"


def test_nothing_anywhere_lists_the_places_in_order(places: Places) -> None:
    error = _failure(places.credentials())
    assert isinstance(error, CredentialsError)
    assert (
        f"looked in KRAKENWS_TOKEN, {places.working / 'WS_Token'}, {places.program / 'WS_Token'},"
        f" KRAKEN_API_KEY with KRAKEN_API_SECRET, the key file {places.config / 'key'};"
    ) in str(error)
    assert "krakenws token" in str(error)


def test_one_directory_is_listed_once(places: Places) -> None:
    places.program = places.working
    assert str(_failure(places.credentials())).count("WS_Token") == 1


def test_every_secret_that_was_found_is_redacted(places: Places) -> None:
    places.credentials({"KRAKENWS_TOKEN": "CANARY-variable"}).find_token()
    places.credentials(ENVIRONMENT_KEY).find_token()
    text = f"CANARY-variable {KEY} {SECRET} CANARY-fetched-1"
    assert places.redactor.clean(text) == "*** *** *** ***"


def test_a_token_shows_its_source_only(places: Places) -> None:
    token = places.credentials({"KRAKENWS_TOKEN": "CANARY-variable"}).find_token()
    assert repr(token) == (
        "Token(text=***, source='the environment variable KRAKENWS_TOKEN', renewable=False, warning='')"
    )
    assert "CANARY" not in f"{token}{token.text}{vars(token)}"


def test_a_token_is_fetched_anew_each_time(places: Places, rest: ScriptedRest) -> None:
    credentials = places.credentials(ENVIRONMENT_KEY)
    assert [credentials.find_token().text.reveal() for _ in range(2)] == [
        "CANARY-fetched-1",
        "CANARY-fetched-2",
    ]
    assert credentials.renew().text == Secret("CANARY-fetched-3")
    assert [asked.body for asked in rest.asked] == ["nonce=1", "nonce=2", "nonce=3"]
    assert len(set(places.nonces)) == 1
    assert list(places.working.iterdir()) == []


def test_a_token_file_is_read_anew_each_time(places: Places) -> None:
    credentials = places.credentials()
    for text in ("CANARY-first", "CANARY-second"):
        _write(places.working / "WS_Token", f"\ufeff {text}\r\n")
        assert credentials.find_token().text.reveal() == text


def test_a_token_is_renewable_when_a_key_is_at_hand(places: Places) -> None:
    environ = {"KRAKENWS_TOKEN": "CANARY-variable"}
    assert not places.credentials(environ).find_token().renewable
    token = places.credentials({**environ, **ENVIRONMENT_KEY}).find_token()
    assert token.renewable
    _write(places.config / "key", f"FILEKEY\n{SECRET}\n")
    assert places.credentials(environ).find_token().renewable
    assert places.credentials(environ).renew() == Token(
        Secret("CANARY-fetched-1"),
        f"Kraken, with the API key from the file {places.config / 'key'}",
        renewable=True,
    )


def test_renewing_without_a_key_says_where_one_is_looked_for(places: Places) -> None:
    with pytest.raises(CredentialsError, match="there is no API key: looked in KRAKEN_API_KEY with"):
        places.credentials().renew()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\t\n", "is empty"),
        ("CANARY token", "holds no token: it has white space"),
        ("CANARY\ntoken", "holds no token: it has white space"),
        ("CANARY\x1b[2Jtoken", "holds no token"),
        ("CANÄRY-token", "holds no token"),
        ('"CANARY-token"', "a quote"),
        ("CANARY\\token", "holds no token"),
        ("CANARY-\x00token", "holds no token"),
        ("CANARY", "6 characters are too few"),
        ("CANARY" * 1000, "too long"),
    ],
)
def test_a_file_that_holds_no_token_is_named(places: Places, text: str, words: str) -> None:
    path = _write(places.working / "WS_Token", text)
    error = _failure(places.credentials(ENVIRONMENT_KEY))
    assert isinstance(error, CredentialsError)
    assert words in str(error)
    assert str(path) in str(error)


def test_a_variable_that_holds_no_token_is_named(places: Places) -> None:
    error = _failure(places.credentials({"KRAKENWS_TOKEN": "CANARY token"}))
    assert "KRAKENWS_TOKEN holds no token" in str(error)


def test_a_file_that_cannot_be_read_is_named(places: Places) -> None:
    (places.working / "WS_Token").mkdir()
    assert "WS_Token cannot be read: Is a directory" in str(_failure(places.credentials()))
    missing = places.working / "missing"
    message = f"{missing} cannot be read: No such file or directory"
    assert message in str(_failure(places.credentials(token_file=missing)))
    assert message in str(_failure(Places.credentials(_without_token(places), key_file=missing)))


def _without_token(places: Places) -> Places:
    (places.working / "WS_Token").rmdir()
    return places


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_token_file_that_others_can_read_is_warned_of(places: Places, mode: int) -> None:
    path = _write(places.working / "WS_Token", "CANARY-working", mode)
    token = places.credentials().find_token()
    assert token.warning == f"{path} can be read by others: run chmod 600 {path}"
    path.chmod(0o600)
    assert not places.credentials().find_token().warning


def test_a_token_file_of_another_name_that_others_can_read_is_refused(places: Places) -> None:
    path = _write(places.working / "mine", "CANARY-mine", 0o640)
    assert f"run chmod 600 {path}, then" in str(_failure(places.credentials(token_file=path)))
    path.chmod(0o600)
    assert places.credentials(token_file=path).find_token().text.reveal() == "CANARY-mine"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644])
def test_a_key_file_that_others_can_read_is_refused(places: Places, mode: int, rest: ScriptedRest) -> None:
    path = _write(places.config / "my key", f"{KEY}\n{SECRET}\n", mode)
    error = _failure(places.credentials(key_file=path))
    assert isinstance(error, CredentialsError)
    assert f"run chmod 600 '{path}'," in str(error)
    assert not rest.asked
    path.chmod(0o600)
    assert places.credentials(key_file=path).find_token().text.reveal() == "CANARY-fetched-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not have two lines"),
        (f"{KEY}\n", "does not have two lines"),
        (f"{KEY} {SECRET}\n", "does not have two lines"),
        (f"{KEY}\n{SECRET}\n{SECRET}\n", "does not have two lines"),
        (f"{SECRET}\n{KEY}\n", "the API secret"),
        (f"CANARY\x00\n{SECRET}\n", "the API key from the file"),
    ],
)
def test_a_key_file_of_another_form_is_refused(
    places: Places, text: str, words: str, rest: ScriptedRest
) -> None:
    path = _write(places.config / "key", text)
    error = _failure(places.credentials())
    assert isinstance(error, CredentialsError)
    assert words in str(error)
    assert str(path) in str(error)
    assert not rest.asked


def test_lines_of_a_key_file_may_be_ended_and_spaced_in_any_way(places: Places, rest: ScriptedRest) -> None:
    _write(places.config / "key", f"\n{KEY} \r\n\r\n {SECRET[:30]} {SECRET[30:]}\r\n")
    places.credentials().find_token()
    assert rest.asked[0].headers["api-key"] == KEY
    assert SECRET not in places.redactor.clean(SECRET)


@pytest.mark.parametrize("missing", ["KRAKEN_API_KEY", "KRAKEN_API_SECRET"])
def test_half_a_key_in_the_environment_is_named(places: Places, missing: str) -> None:
    error = _failure(places.credentials({**ENVIRONMENT_KEY, missing: ""}))
    assert isinstance(error, CredentialsError)
    assert str(error).startswith(f"{missing} is not set")


def test_a_key_file_that_was_named_goes_before_the_environment(places: Places, rest: ScriptedRest) -> None:
    path = _write(places.config / "other", f"NAMEDKEY\n{SECRET}\n")
    places.credentials(ENVIRONMENT_KEY, key_file=path).find_token()
    assert rest.asked[0].headers["api-key"] == "NAMEDKEY"


def test_a_refused_key_names_its_source(tmp_path: Path) -> None:
    with serve('{"error":["EGeneral:Permission denied"]}') as server:
        error = _failure(Places(tmp_path, server.url).credentials(ENVIRONMENT_KEY))
    assert 'from KRAKEN_API_KEY and KRAKEN_API_SECRET lacks the permission "WebSocket interface"' in str(
        error
    )


def test_an_exchange_that_is_away_is_no_matter_of_credentials(tmp_path: Path) -> None:
    with serve("") as server:
        pass
    assert isinstance(_failure(Places(tmp_path, server.url).credentials(ENVIRONMENT_KEY)), ConnectionFailed)


def test_a_stored_token_is_found_again_without_a_warning(places: Places) -> None:
    path = _write(places.working / "WS_Token", "CANARY-before", 0o644)
    store_token(str(path), Secret("CANARY-stored"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert places.credentials().find_token() == Token(
        Secret("CANARY-stored"), f"the file {path}", renewable=False
    )
    assert os.listdir(places.working) == ["WS_Token"]


def test_a_token_that_cannot_be_stored_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "WS_Token"
    with pytest.raises(SinkError, match=r"could not be stored in .*: No such file or directory") as caught:
        store_token(str(path), Secret("CANARY-stored"))
    assert "CANARY" not in "".join(traceback.format_exception(caught.value)).replace("CANARY-stored", "", 1)
