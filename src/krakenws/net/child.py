"""What a child process is found by, what it may know, and which signals it gets without us."""

from __future__ import annotations

import os
import shutil
import signal

from krakenws.errors import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "OTP")


def find_program(name: str) -> str:
    """Return where a program lies, as the shell finds it.

    Raises:
        CommandFailed: there is none, or it cannot be executed.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    if os.path.exists(name) and os.path.dirname(name):
        raise CommandFailed(f"{name} cannot be executed; nothing was armed", CommandFailed.NOT_EXECUTABLE)
    raise CommandFailed(f"{name}: there is no such command; nothing was armed", CommandFailed.NOT_FOUND)


def without_secrets(environ: Mapping[str, str], clean: Callable[[str], str]) -> dict[str, str]:
    """Return an environment without variables of Kraken's that are secrets by their name, or any by value.

    Args:
        environ: of this process.
        clean: takes out the secrets that are known, as the redactor does.
    """
    return {
        name: value
        for name, value in environ.items()
        if not _is_secret(name.upper()) and clean(value) == value
    }


def _is_secret(name: str) -> bool:
    """A file's name is none: who may read the file may read it with or without us."""
    words = name.removesuffix("_FILE") if name.endswith("_FILE") else ""
    return "KRAKEN" in name and not words and any(word in name for word in _SECRET_WORDS)


def terminal_sends(number: int) -> bool:
    """Whether the terminal sends a signal to CMD as well: to get it twice may mean something else."""
    if number != signal.SIGINT:
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False  # there is none
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
