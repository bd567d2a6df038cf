"""Where the WebSocket token comes from: a file, the environment, or REST with an API key.

The places are searched in the order of interface.md section 2, anew at each call, so that a file that another
program renews is read again. A token got with a key is never kept: a private connection takes a fresh one
(quirks T1 to T3).
"""

from __future__ import annotations

import os

from krakenws.core.redaction import MIN_TOKEN_LENGTH, Secret
from krakenws.directories import replace_file
from krakenws.errors import CredentialsError, SinkError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krakenws.core.redaction import Redactor
    from krakenws.net.rest import ApiKey
    from krakenws.options import Options

TOKEN_FILE = "WS_Token"  # noqa: S105 - a file's name
TOKEN_VARIABLE = "KRAKENWS_TOKEN"  # noqa: S105 - a variable's name
KEY_VARIABLE = "KRAKEN_API_KEY"
SECRET_VARIABLE = "KRAKEN_API_SECRET"  # noqa: S105 - a variable's name

_MAX_FILE_BYTES = 4096
_BOM = b"\xef\xbb\xbf"
"""What some editors put before UTF-8."""
_NEVER_IN_TOKENS = set(" \"'`\\")


@record
class Token:
    """A token to connect with.

    Attributes:
        text: the token itself.
        source: where it came from, a phrase for people: "the file WS_Token".
        renewable: an API key is at hand, so `Credentials.renew` may replace it when the exchange refuses it.
        warning: what to tell the user about that place, or "".
    """

    text: Secret
    source: str
    renewable: bool
    warning: str = ""


class Credentials:
    """Finds tokens and API keys; every secret found is registered with the redactor at once.

    Args:
        options: endpoints and deadlines.
        redactor: the run's one redactor.
        nonce: gives a new nonce for a key id: `State.next_nonce` with the clock.
        environ: the process environment, or the arguments of `connect` under the same names; an empty value
            counts as unset.
        are_arguments: whether it is the latter, so that messages call them what the caller does.
        working_dir: searched for `WS_Token`.
        program_dir: searched for it next, as the original script's directory was.
        config_dir: where the file `key` is looked for.
        token_file: `--token-file`: no other place is searched for a token.
        key_file: `--key-file`: no other place is searched for a key.
    """

    def __init__(
        self,
        options: Options,
        redactor: Redactor,
        nonce: Callable[[str], int],
        *,
        environ: Mapping[str, str],
        working_dir: str,
        program_dir: str,
        config_dir: str,
        token_file: str | None = None,
        key_file: str | None = None,
        are_arguments: bool = False,
    ) -> None:
        self._options = options
        self._redactor = redactor
        self._nonce = nonce
        self._environ = environ
        self._token_file = token_file
        self._key_file = key_file
        self._are_arguments = are_arguments
        self._default_key_file = os.path.join(config_dir, "key")
        directories = dict.fromkeys((os.path.abspath(working_dir), os.path.abspath(program_dir)))
        self._token_files = [os.path.join(directory, TOKEN_FILE) for directory in directories]

    def find_token(self) -> Token:
        """Return the first token found; with a key, a fresh one from REST.

        Raises:
            CredentialsError: there is none, or the first place that should have one holds something else.
            ConnectionFailed: the token was to come from REST, which did not answer.
            RequestRejected: REST refused for a reason that is not the key's.
        """
        stored = self.stored_token()
        if stored is not None:
            return stored
        if self.has_key():
            return self.renew()
        raise CredentialsError(
            f"there is no WebSocket token: looked in {', '.join(self._places())};"
            ' make an API key with the permission "WebSocket interface" in the settings at Kraken and put it'
            " there, or store a token with `krakenws token`"
        )

    def stored_token(self) -> Token | None:
        """Return the first token that is kept somewhere, or None.

        Raises:
            CredentialsError: the first place that should have one holds something else, or others can read
                the file and it is not called `WS_Token`.
        """
        if self._token_file is not None:
            return self._from_file(self._token_file)
        text = self._environ.get(TOKEN_VARIABLE, "").strip()
        if text:
            source = "token=" if self._are_arguments else f"the environment variable {TOKEN_VARIABLE}"
            return self._token(text, source)
        for path in self._token_files:
            if os.path.lexists(path):
                return self._from_file(path)
        return None

    def renew(self) -> Token:
        """Return a fresh token from REST, whatever other token there is.

        Raises:
            CredentialsError: there is no usable key, or Kraken refused it.
            ConnectionFailed: REST did not answer.
            RequestRejected: Kraken refused for a reason that is not the key's.
        """
        from krakenws.net.rest import RestClient

        key = self.find_key()
        text = RestClient(self._options, self._redactor).websockets_token(key, self.nonce_of(key))
        return Token(text, f"Kraken, with the API key from {key.source}", renewable=True)

    def nonce_of(self, key: ApiKey) -> Callable[[], int]:
        """Return what gives the next nonce of a key."""
        return lambda: self._nonce(key.key_id)

    def find_key(self) -> ApiKey:
        """Return the API key and its secret.

        Raises:
            CredentialsError: there is none, half of one, none in proper form, or others can read its file.
        """
        if self._key_file is None:
            key, secret = self._environ.get(KEY_VARIABLE, ""), self._environ.get(SECRET_VARIABLE, "")
            if key.strip() and secret.strip():
                names = KEY_VARIABLE, SECRET_VARIABLE
                source = "api_key= and api_secret=" if self._are_arguments else " and ".join(names)
                return self._key(key, secret, source)
            if key.strip() or secret.strip():
                missing = SECRET_VARIABLE if key.strip() else KEY_VARIABLE
                raise CredentialsError(
                    f"{missing} is not set: a key needs both {KEY_VARIABLE} and {SECRET_VARIABLE}"
                )
        path = self._key_file or self._default_key_file
        if self._key_file is None and not os.path.lexists(path):
            raise CredentialsError(
                f"there is no API key: looked in {', '.join(self._key_places())};"
                " make one in the settings at Kraken and put it there"
            )
        text, exposed = _read(path)
        if exposed:
            raise _exposed("key", path)
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) != 2:
            raise CredentialsError(
                f"the key file {path} does not have two lines: the API key, then the API secret (private key)"
            )
        return self._key(lines[0], lines[1], f"the file {path}")

    def _key(self, key: str, secret: str, source: str) -> ApiKey:
        from krakenws.net.rest import ApiKey

        self._redactor.add(key.strip())
        self._redactor.add(secret.strip())
        return ApiKey(key, secret, source)

    def files(self) -> list[str]:
        """Return the files that are there for secrets, the key file last."""
        places = [*([self._token_file] if self._token_file else self._token_files)]
        places.append(self._key_file or self._default_key_file)
        return [path for path in places if os.path.lexists(path)]

    def has_key(self) -> bool:
        """Return whether there is a key, or something in its place."""
        environ = self._environ
        return (
            self._key_file is not None
            or bool(environ.get(KEY_VARIABLE, "").strip() or environ.get(SECRET_VARIABLE, "").strip())
            or os.path.lexists(self._default_key_file)
        )

    def _from_file(self, path: str) -> Token:
        text, exposed = _read(path)
        if exposed and os.path.basename(path) != TOKEN_FILE:  # the original's users have such a one
            raise _exposed("token", path)
        warning = f"{path} can be read by others: run {_chmod(path)}" if exposed else ""
        return self._token(text.strip(), f"the file {path}", warning)

    def _token(self, text: str, source: str, warning: str = "") -> Token:
        if not text:
            raise CredentialsError(
                f"{source} is empty: store a token there (`krakenws token`), or remove it to search elsewhere"
            )
        if not text.isascii() or not text.isprintable() or not _NEVER_IN_TOKENS.isdisjoint(text):
            raise CredentialsError(
                f"{source} holds no token: it has white space, a quote or another character that no token has"
            )
        if len(text) < MIN_TOKEN_LENGTH:
            raise CredentialsError(f"{source} holds no token: {len(text)} characters are too few")
        self._redactor.add(text)
        return Token(Secret(text), source, self.has_key(), warning)

    def _places(self) -> list[str]:
        return [TOKEN_VARIABLE, *self._token_files, *self._key_places()]

    def _key_places(self) -> list[str]:
        return [f"{KEY_VARIABLE} with {SECRET_VARIABLE}", f"the key file {self._default_key_file}"]


def store_token(path: str, token: Secret) -> None:
    """Put a token into a file that only its owner can read, whole or not at all.

    Raises:
        SinkError: the file could not be written.
    """
    try:
        replace_file(path, token.reveal() + "\n")
    except OSError as error:
        raise SinkError(f"the token could not be stored in {path}: {error.strerror}") from None


def _read(path: str) -> tuple[str, bool]:
    """Return a secret file's text and whether others than its owner can read it."""
    import stat

    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise CredentialsError(f"{path} is too long for a file of secrets: name the right file")
    exposed = os.name == "posix" and stat.S_ISREG(mode) and bool(mode & 0o077)
    return data.removeprefix(_BOM).decode("utf-8", "replace"), exposed


def _exposed(what: str, path: str) -> CredentialsError:
    return CredentialsError(
        f"the {what} file {path} can be read by others: run {_chmod(path)}, then try again"
    )


def _chmod(path: str) -> str:
    import shlex

    return f"chmod 600 {shlex.quote(path)}"
