"""Where files of the user live (configuration, state, cache), and how one is replaced.

On Linux the XDG base directory specification is read here, in a few lines: platformdirs gives the same
answers (a test compares them) but costs 17 ms of a start-up of 26. Elsewhere platformdirs decides.

Source: https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
import sys

from krakenws.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = "krakenws"


def config_dir() -> str:
    """Return the directory of `config.toml` and of the key file; it may not exist."""
    return _user_dir("XDG_CONFIG_HOME", ".config", "user_config_dir")


def state_dir() -> str:
    """Return the directory of what must outlive a run; it may not exist."""
    return _user_dir("XDG_STATE_HOME", ".local/state", "user_state_dir")


def cache_dir() -> str:
    """Return the directory of what can be fetched again; it may not exist."""
    return _user_dir("XDG_CACHE_HOME", ".cache", "user_cache_dir")


def working_dir() -> str:
    """Return the directory this process is in, or one where no file lies if that was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return os.devnull


def read_config(path: str) -> dict[str, Any]:
    """Return the table of a `config.toml`, numbers with a fraction as text; empty without such a file.

    Raises:
        UsageError: it cannot be read, or is not TOML.
    """
    if not os.path.exists(path):
        return {}
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file, parse_float=str)  # money is never a float
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


def replace_file(path: str, text: str) -> None:
    """Make `text` the content of a file that only its owner can read: whole and on the disk, or not at all.

    Raises:
        OSError: it could not be written; what was there still is.
    """
    temporary = f"{path}.{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _user_dir(variable: str, default: str, elsewhere: str) -> str:
    if sys.platform != "linux":
        import platformdirs

        return str(getattr(platformdirs, elsewhere)(_NAME, appauthor=False))
    base = os.environ.get(variable, "")
    if not os.path.isabs(base):  # unset, empty, or relative, which the specification tells us to ignore
        base = os.path.join(_home(), default)
    return os.path.join(base, _NAME)


def _home() -> str:
    home = os.environ.get("HOME", "")
    if os.path.isabs(home):
        return home.rstrip("/")
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's user without a name: containers call `/` the home of such
        return "/"
