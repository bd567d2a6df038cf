"""A command under the dead man's switch of the account: armed before it starts, renewed while it lives.

    arming ──confirmed, CMD started──▶ guarding ──CMD ends──▶ ending ──switched off, or given up──▶
       └──refused, unanswered, no connection: CMD is not started

`Guard` steers a `Run` from beside it: as its sink it takes the run's events, as its attendant it adds
requests on the loop's turns, and through its signals it ends the run. Where the run fails for good while CMD
lives (the token was refused, the budget of connections is spent), another one begins; only at the end the
guard gives up.

Nothing here polls: the end of CMD is a signal, SIGCHLD, which makes the run's wake-up socket readable.

What it sends goes through `Trading` like all that trades, but nothing is looked for: a renewal without an
answer is made again, as only the last request to the switch counts, and so is a cancelAll.

Source: v1.md 9.6, quirk O12.
"""

from __future__ import annotations

import signal
import subprocess
from time import monotonic

from krakenws.core.catalog import bind
from krakenws.core.events import Connected, Disconnected, Refused, Rejected, Reply, Status, Unanswered, Update
from krakenws.core.pacing import Backoff
from krakenws.core.switch import Switch
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import CANCEL_ALL, CANCEL_ALL_ORDERS_AFTER, OPEN_ORDERS
from krakenws.errors import CommandFailed, ConnectionFailed, KrakenWSError, OutcomeUnknown
from krakenws.net.child import terminal_sends
from krakenws.net.poller import READ, Poller
from krakenws.net.shell import patience_s
from krakenws.net.stop import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from krakenws.core.catalog import Entry
    from krakenws.core.events import Event
    from krakenws.net.loop import Run

ARMING, GUARDING, ENDING, OVER = "arming", "guarding", "ending", "over"
CANCEL, LEAVE = "cancel", "leave"
_RETRY_S = 5.0
_MEANT_FOR_CMD_S = 0.5
"""A signal so soon after the end of CMD was meant for it: Ctrl-C reaches both, and CMD may be quicker."""
_ENDED = {"closed", "canceled", "expired"}


class GuardSignals(Signals):
    """What ends CMD is passed on to it; what tells of its end wakes us.

    Attributes:
        arrived: signals to pass on, in order; taken by the guard.
    """

    def __init__(self) -> None:
        passed_on = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [number for number in passed_on if signal.getsignal(number) != signal.SIG_IGN]  # as of nohup
        super().__init__((*heard, signal.SIGCHLD))
        self.arrived: list[int] = []

    def hold(self) -> None:
        """Take no notice: which signal ends what is the guard's to say."""

    release = hold

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.arrived.append(number)


class OpenOrders:
    """How many orders are open, as openOrders tells it; None until it has."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: set[str] | None = None

    @property
    def count(self) -> int | None:
        """How many, or None."""
        return None if self._ids is None else len(self._ids)

    def take(self, update: Update) -> None:
        """Take a frame; what is no order in it says nothing."""
        if update.snapshot or self._ids is None:
            self._ids = set()
        for part in update.body if isinstance(update.body, list) else ():
            for order_id, order in part.items() if isinstance(part, dict) else ():
                status = order.get("status") if isinstance(order, dict) else None
                if status in _ENDED:
                    self._ids.discard(order_id)
                else:
                    self._ids.add(order_id)


class Guard:
    """Runs a command under the switch; also the sink and the attendant of its runs.

    Args:
        command: CMD and its words.
        program: where it lies, by `child.find_program`.
        environ: makes CMD's environment once the run's secrets are known.
        timeout_s: of the switch.
        on_failure: `CANCEL` or `LEAVE`: what becomes of the orders when CMD fails.
        ack_timeout_s: how long the exchange's answers may take.
        make_run: makes a run with this sink, this attendant and these signals.
        note: takes a sentence for people.
        jitter: numbers in [0, 1) for the pauses between runs.
    """

    wants_events = True
    keeps = False
    awake_until = 0.0
    busy = True
    waiting = ()

    def __init__(
        self,
        command: Sequence[str],
        program: str,
        *,
        environ: Callable[[], dict[str, str]],
        timeout_s: int,
        on_failure: str,
        ack_timeout_s: float,
        make_run: Callable[[Guard, GuardSignals], Run],
        note: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._command = command
        self._program = program
        self._environ = environ
        self._on_failure = on_failure
        self._ack_timeout_s = ack_timeout_s
        self._make_run = make_run
        self._tell = note
        self._name = command[0]
        self._switch = Switch(timeout_s)
        self._signals = GuardSignals()
        self._phase = ARMING
        self._run: Run | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._code = 0
        self._connected = False
        self._orders = OpenOrders()
        self._orders_unknown = ""
        self._orders_due: float | None = None
        self._cancels = False
        self._cancel_id: int | None = None
        self._cancel_at = float("-inf")
        self._ended_at = 0.0
        self._give_up_at: float | None = None
        self._trouble = ""
        self._troubled = ""
        self._fired = False
        self._backoff = Backoff(jitter)

    def _note(self, sentence: str) -> None:
        self._tell(f"guard: {sentence}")

    # ---- runs

    def run(self) -> int:
        """Run CMD to its end and settle the switch; return CMD's exit code, or 128 and its signal's number.

        Raises:
            KrakenWSError: it could not be armed, and CMD was not started; or CMD did well, and the switch
                could not be switched off.
        """
        with self._signals:
            while self._phase != OVER:
                cause = self._one_run()
                if self._phase == ARMING and cause is not None:
                    self._tell_if_armed()
                    raise cause
                if self._phase != OVER and cause is not None:
                    self._pause(cause)
        if self._code == 0 and self._child is not None and not self._switch.settled:
            raise OutcomeUnknown(
                f"{self._name} ended with 0, but the exchange did not confirm that the switch is off:"
                " look at open orders; krakenws cancelAllOrdersAfter timeout=0 switches it off"
            )
        return self._code

    def _one_run(self) -> KrakenWSError | None:
        """Run until the guard is over or the run failed; return why it did."""
        self._run = run = self._make_run(self, self._signals)
        run.add(V1, bind(OPEN_ORDERS, []))
        try:
            run.run()
            if self._phase != OVER:
                run.judge()
        except KrakenWSError as error:
            return error
        finally:
            self._run = None
            self._connected = False
            self._cancel_id = None
            self._switch.dropped(monotonic())
        return None if self._phase == OVER else ConnectionFailed("the connection has ended")

    def _pause(self, cause: KrakenWSError) -> None:
        """Wait before the next run, and look after CMD meanwhile."""
        now = monotonic()
        until = now + self._backoff.next_delay(patience_s(cause))
        self._say_trouble(str(cause), now)
        poller = Poller()
        poller.watch(0, ((self._signals.wakeup, READ),))
        while self._phase != OVER and now < until:
            word_at = self._next_word()
            if poller.wait((until if word_at is None else min(until, word_at)) - now):
                self._signals.heard()
            now = monotonic()
            self.attend(now)

    # ---- as attendant

    def attend(self, now: float) -> None:
        """Do what is due."""
        arrived, self._signals.arrived = self._signals.arrived, []
        for number in arrived:  # before the end of CMD, which they may have caused
            self._pass_on(number, now)
        self._look_after_child(now)
        if self._phase == ARMING and self._switch.armed and self._knows_orders(now):
            self._start(now)
        self._watch_time(now)
        if self._run is not None and self._phase != OVER:
            self._ask(self._run, now)
        if self._phase == ENDING and not self._cancels and self._switch.settled:
            self._note("switched off")
            self._end()

    def ready(self, key: int) -> None:
        """Take no notice: a guard watches no socket."""

    def outlives(self, api: int, access: str, error: KrakenWSError) -> bool:  # noqa: ARG002 - of its one link
        """Return that the run ends with its connection: another run begins."""
        return False

    def refused(self, key: tuple[int, str], req_id: int, error: KrakenWSError) -> None:
        """Take no notice: a guard places nothing."""

    def next_deadline(self) -> float | None:
        """Return when `attend` has something to do at the latest."""
        times = [self._next_word()]
        if not self._cancels:
            times.append(self._switch.next_deadline())
        elif self._cancel_id is None:
            times.append(self._cancel_at)
        if self._phase == ARMING and self._switch.armed:
            times.append(self._orders_due)
        return min((at for at in times if at is not None), default=None)

    def _next_word(self) -> float | None:
        """Return when time alone has something to say, with or without a connection."""
        fires_at = None if self._fired else self._switch.fires_at
        return min((at for at in (fires_at, self._give_up_at) if at is not None), default=None)

    def _ask(self, run: Run, now: float) -> None:
        if self._cancels:  # until they are, the switch is left to fire: neither renewed nor switched off
            if self._cancel_id is None and now >= self._cancel_at:
                self._cancel_id = self._request(run, CANCEL_ALL)
            return
        seconds = self._switch.due(now)
        if seconds is not None:
            req_id = self._request(run, CANCEL_ALL_ORDERS_AFTER, f"timeout={seconds}")
            self._switch.asked(req_id, now)

    @staticmethod
    def _request(run: Run, entry: Entry, *words: str) -> int:
        (req_id,) = run.order(V1, bind(entry, words))
        return req_id

    def _watch_time(self, now: float) -> None:
        """Say when the switch must have fired, and give up what can then no longer matter."""
        fires_at = self._switch.fires_at
        if fires_at is None or now < fires_at:
            self._fired = False
        elif not self._fired:
            self._fired = True
            self._note("the switch has fired by now: Kraken cancels ALL open orders of the account")
        if self._give_up_at is not None and now >= self._give_up_at:
            self._end()

    # ---- CMD

    def _knows_orders(self, now: float) -> bool:
        """Whether they are counted, or need not be waited for."""
        if self._orders_due is None:
            self._orders_due = now + self._ack_timeout_s
        return bool(self._orders_unknown) or self._orders.count is not None or now >= self._orders_due

    def _start(self, now: float) -> None:
        count = self._orders.count
        told = f"{count} open now" if count is not None else f"how many are open {self._unknown()}"
        self._note(
            f"armed for {self._switch.timeout_s} s, renewed while {self._name} lives; if it fires, Kraken"
            f" cancels ALL open orders of the account, whoever placed them: {told}"
        )
        try:
            self._child = subprocess.Popen(  # noqa: S603 - what the user typed
                self._command, executable=self._program, env=self._environ()
            )
        except OSError as error:
            self._note(f"{self._name} could not be started: {error.strerror}")
            self._wind_up(CommandFailed.NOT_EXECUTABLE, now)
        else:
            self._phase = GUARDING

    def _unknown(self) -> str:
        return f"is not known ({self._orders_unknown or 'openOrders does not answer'})"

    def _look_after_child(self, now: float) -> None:
        if self._phase != GUARDING or self._child is None or self._child.poll() is None:
            return
        code = self._child.returncode
        if code == 0:
            self._note(f"{self._name} ended with 0: switching off")
            self._wind_up(code, now)
            return
        how = f"with {code}" if code > 0 else f"by signal {-code}"
        if self._on_failure == CANCEL:
            self._note(f"{self._name} ended {how}: cancelling all orders of the account")
            self._cancels = True
        self._wind_up(code if code > 0 else 128 - code, now)
        if self._on_failure == LEAVE:
            left = f"fires in {self._left(now)}" if self._switch.armed else "is off"
            self._note(f"{self._name} ended {how}: the switch {left}, as --on-failure leave has it")
            self._end()

    def _wind_up(self, code: int, now: float) -> None:
        """CMD has ended, or will not be started: switch off, but only once all is cancelled that must be."""
        self._code = code
        self._phase = ENDING
        self._ended_at = now
        self._switch.wanted = self._cancels
        if not self._switch.settled:
            self._give_up_at = self._switch.fires_at or now + self._switch.timeout_s

    def _pass_on(self, number: int, now: float) -> None:
        if self._phase == GUARDING and self._child is not None:
            if not terminal_sends(number):
                self._child.send_signal(number)
        elif self._phase == ARMING:
            self._note(f"stopped by signal {number} before {self._name} was started")
            self._wind_up(128 + number, now)
            if not self._connected:  # nothing has left
                self._end()
        elif self._phase == ENDING and now > self._ended_at + _MEANT_FOR_CMD_S:
            self._end()

    def _end(self) -> None:
        """End, and say what is left undone."""
        if self._cancels:
            self._note("the exchange did not confirm that all orders are cancelled")
        if self._on_failure == CANCEL:
            self._tell_if_armed()
        self._phase = OVER
        self._signals.set = True

    def _tell_if_armed(self) -> None:
        if self._switch.armed and not self._fired:
            self._note(f"the switch is still armed: it fires in {self._left(monotonic())}")

    def _left(self, now: float) -> str:
        return f"{self._switch.left_s(now):.0f} s"

    # ---- as sink

    def sent(self, frames: list[bytes]) -> None:
        """Show nothing: stdout is CMD's."""

    def received(self, frames: list[bytes]) -> None:
        """Show nothing."""

    def drained(self) -> None:
        """Nothing is ever kept here."""

    def write(self, events: Sequence[Update | Event]) -> None:
        """Take what happened on the connection."""
        now = monotonic()
        for event in events:
            if isinstance(event, Update):
                self._orders.take(event)
            elif isinstance(event, Reply):
                self._accepted(event, now)
            elif isinstance(event, Rejected | Unanswered):
                self._failed(event, now)
            elif isinstance(event, Status):
                self._status(event.system)
            elif isinstance(event, Connected):
                self._connected = True
            elif isinstance(event, Disconnected):
                self._trouble = event.cause
            elif isinstance(event, Refused):
                self._orders_unknown = event.error
        if self._trouble:
            trouble, self._trouble = self._trouble, ""
            self._say_trouble(trouble, now)

    def _accepted(self, event: Reply, now: float) -> None:
        if event.req_id == self._cancel_id:
            self._note(f"cancelled: {event.result.get('count', 'all')}")
            self._cancels = False
            self._cancel_id = None
            self._switch.wanted = False
            self._give_up_at = self._switch.fires_at
        elif self._switch.confirmed(event.req_id, now, self._ack_timeout_s):
            self._backoff.reset()
            self._troubled, troubled = "", self._troubled
            if self._switch.maintenance and self._phase == GUARDING:
                self._troubled = "switched off for the maintenance: nothing watches over the open orders"
                self._note(self._troubled)
            elif self._phase == GUARDING and troubled:
                self._note(f"armed again for {self._switch.timeout_s} s")
        if self._run is not None:
            self._run.forget()

    def _failed(self, event: Rejected | Unanswered, now: float) -> None:
        unknown = isinstance(event, Unanswered)
        cause = event.hint.partition(";")[0] if isinstance(event, Unanswered) else event.error
        if event.req_id == self._cancel_id:
            self._cancel_id = None
            self._cancel_at = now + min(_RETRY_S, self._switch.timeout_s / 9)
        elif not self._switch.failed(event.req_id, now, unknown=unknown):
            return
        self._trouble = self._trouble or cause
        if self._phase == ARMING and not self._switch.armed:
            if unknown:
                self._note(
                    "the switch may be armed all the same:"
                    " krakenws cancelAllOrdersAfter timeout=0 switches it off"
                )
            self._signals.set = True  # the run's verdict says why

    def _status(self, system: str) -> None:
        """Maintenance: an armed switch would fire when the engine returns."""
        maintenance = system == "maintenance"
        if maintenance and not self._switch.maintenance and self._phase == GUARDING:
            self._note(
                "the exchange announces maintenance: switching off, or all is cancelled when it returns"
            )
        self._switch.maintenance = maintenance

    def _say_trouble(self, cause: str, now: float) -> None:
        """Say what failed, and how long the switch still holds; without it, the same is said once."""
        if self._phase not in {GUARDING, ENDING}:
            return
        switch = self._switch
        if self._cancels:
            what = "not cancelled"
        elif switch.settled and not switch.armed:
            what = "not connected"
        else:
            what = "not renewed" if switch.target else "not switched off"
        said = f"{what}: {cause}"
        if switch.armed and not self._fired:
            said += f"; the switch fires in {self._left(now)}"
        if said != self._troubled:
            self._note(said)
        self._troubled = said
