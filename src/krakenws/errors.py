"""Every exception of krakenws, its exit code, and whether trying again can help.

An event is something a stream survives; an exception ends the run. A message says what happened, to what,
and what to do next, in one sentence without a trailing full stop.
"""

from __future__ import annotations


class KrakenWSError(Exception):
    """Anything that ends a run: `exit_code` is the process's, `retryable` whether trying again can help."""

    exit_code = 1
    retryable = False


class UsageError(KrakenWSError):
    """The words do not fit the catalog; nothing was opened or sent."""

    exit_code = 2


class IntentUnderway(UsageError):
    """The first command under this name is on its way elsewhere; nothing was sent, ask again later."""

    retryable = True


class CredentialsError(KrakenWSError):
    """There is no usable token or key, or the exchange refused it."""

    exit_code = 3


class ConnectionFailed(KrakenWSError):
    """No connection could be made, or it was lost for good.

    Attributes:
        http_status: the status of a refused WebSocket upgrade or REST call, else None.
        retry_after_s: for how long it asks to be left alone, else 0.
        retryable: False where only a change on this side helps, as with a certificate that is not trusted.
    """

    exit_code = 4
    retryable = True

    def __init__(
        self,
        message: str,
        http_status: int | None = None,
        retry_after_s: float = 0.0,
        *,
        retryable: bool = True,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.retryable = retryable


class RequestRejected(KrakenWSError):
    """The exchange said no. `code` is its text as sent, e.g. "EOrder:Insufficient funds"."""

    exit_code = 5

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class OrderRejected(RequestRejected):
    """The exchange refused a trading request of the Python API; of several cancels, at least one."""


class OutcomeUnknown(KrakenWSError):
    """A request was sent and not answered: look before sending it again.

    Attributes:
        intent: its name in the journal, "" where there is none.
    """

    exit_code = 6

    def __init__(self, message: str, intent: str = "") -> None:
        super().__init__(message)
        self.intent = intent


class SinkError(KrakenWSError):
    """A file, terminal or broker could not take the data."""

    exit_code = 7


class StateLocked(SinkError):
    """Another program has locked the file of the journal; nothing was written."""

    retryable = True


class PolicyRefused(KrakenWSError):
    """The user's own policy forbids it."""

    exit_code = 8


class CommandFailed(KrakenWSError):
    """`guard`: CMD cannot be started. `exit_code` is the shell's: `NOT_FOUND` or `NOT_EXECUTABLE`."""

    NOT_EXECUTABLE = 126
    NOT_FOUND = 127

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ProtocolError(KrakenWSError):
    """The rules of the wire were broken; raised as one of its two children."""

    exit_code = 9


class LocalProtocolError(ProtocolError):
    """We were about to break the rules of the wire: a defect of the caller."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the rules of the wire.

    Attributes:
        close_code: the WebSocket close code that answers it (RFC 6455, section 7.4.1).
    """

    retryable = True

    def __init__(self, message: str, close_code: int = 1002) -> None:
        super().__init__(message)
        self.close_code = close_code


class DataUntrusted(KrakenWSError):
    """Data could not be trusted when it was needed."""

    exit_code = 9
    retryable = True


class ConditionNotMet(KrakenWSError):
    """What was waited for did not come true in time."""

    exit_code = 124
    retryable = True


def place_of(error: BaseException) -> str:
    """Return the function and line that raised an exception: its text may hold a secret, these do not."""
    place, trace = "", error.__traceback__
    while trace is not None:
        place, trace = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}", trace.tb_next
    return place


EXIT_CODES: tuple[tuple[int, str], ...] = (
    (0, "done; accepted; a stream ended as asked (--count, --for, Ctrl-C, SIGTERM, closed pipe)"),
    (1, "anything unforeseen: a defect of krakenws; -v shows the traceback"),
    (2, "usage: the words do not fit the catalog; nothing was sent"),
    (3, "no usable credentials, or the exchange refused them"),
    (4, "could not connect, or the connection was lost for good"),
    (5, "the exchange said no: order refused, every subscription refused"),
    (6, "outcome unknown: sent, not answered, not found; 'krakenws reconcile' looks again"),
    (7, "a destination could not take the data (disk full, broker gone, reader asleep)"),
    (8, "refused by the user's own policy file"),
    (9, "data not trustworthy: with --strict, and when wait could not judge its condition in time"),
    (124, "wait: the condition was not met in time"),
    (126, "guard: CMD cannot be executed"),
    (127, "guard: there is no such CMD"),
    (130, "Ctrl-C in a tool that streams nothing (pairs, token, doctor); a signal that ended wait"),
)
"""What each exit code of the command line means: help and docs print this table."""
