"""Errors and log lines in Python's words: code that the command line uses, too, names options as that does.

`--cafile` is `cafile=` of `krakenws.connect`, `--strict` a field of `krakenws.Options`, and `close[price]`
is given as `close_price=`. Examples of lines to type are left out. Events are as the command line has them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from krakenws.errors import KrakenWSError, UsageError

if TYPE_CHECKING:
    from logging import LogRecord
    from types import TracebackType

ARGUMENTS = ("public-url", "private-url", "rest-url", "cafile", "token-file", "key-file", "sandbox")
FIELDS = {
    "ack-timeout": "ack_timeout_s",
    "backfill": "backfill=True",
    "book": "book",
    "connect-timeout": "connect_timeout_s",
    "look-ups": "look_ups_s",
    "no-check": "check=False",
    "no-verify": "verify=False",
    "reconnect": "reconnect",
    "strict": "strict=True",
}
WORDS = {
    **{name: f"{name.replace('-', '_')}=" for name in ARGUMENTS},
    **{name: f"Options.{field}" for name, field in FIELDS.items()},
}
"""What options are in Python."""
_OPTION = re.compile(rf"--(?:({'|'.join(ARGUMENTS)})(?![\w-])=?|({'|'.join(FIELDS)})(?![\w-]))")
_BRACKETS = re.compile(r"\bclose\[(\w+)\]")
_EXAMPLE = re.compile(r", for example: .*")


def in_python(text: str) -> str:
    """Return a sentence with its options in Python's words."""
    return _OPTION.sub(lambda found: WORDS[found[1] or found[2]], text) if "--" in text else text


def translate(error: BaseException) -> None:
    """Have an error speak Python, whoever has it already."""
    if isinstance(error, KrakenWSError):
        said = in_python(str(error))
        if isinstance(error, UsageError):
            said = _EXAMPLE.sub("", _BRACKETS.sub(r"close_\1", said))
        error.args = (said, *error.args[1:])


class _SpeakingPython:
    """Errors that leave the block speak Python."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            translate(error)


SPEAKING_PYTHON = _SpeakingPython()


def translated(record: LogRecord) -> bool:
    """Have a line of the log speak Python; a filter for loggers."""
    said = record.getMessage()
    if "--" in said:
        record.msg, record.args = in_python(said), ()
    return True
