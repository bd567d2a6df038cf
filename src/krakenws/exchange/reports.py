"""What the users and the truth log are told of the users' orders."""

from __future__ import annotations

from krakenws.errors import place_of
from krakenws.exchange import balances, private
from krakenws.exchange.records import consolidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.exchange.files import File
    from krakenws.exchange.ledger import LedgerEntry
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.records import FillRecord, OrderRecord

    Payload = Callable[[OrderRecord, int | None], bytes]


class Reports:
    """openOrders, ownTrades and balances for whoever listens, and the truth log.

    Args:
        files: by account name.
        pairs: wsnames, each with a rate counter of its own.
        tell: the truth log: takes an event, its time, and its fields by name.
    """

    def __init__(self, files: Mapping[str, File], pairs: Iterable[str], tell: Callable[..., None]) -> None:
        self.tell = tell
        """Tells the truth log."""
        self._files = files
        self._pairs = pairs

    def join(self, file: File, subscription: Subscription, now_us: int) -> None:
        """Send a new subscriber of a private channel its snapshot, and from then on every frame."""
        if subscription.channel == "openOrders" or subscription.values.get("snapshot", True):
            subscription.publish(self._snapshot(file, subscription, now_us), snapshot=True)
        file.subscriptions[subscription.channel].append(subscription)

    def _snapshot(self, file: File, subscription: Subscription, now_us: int) -> bytes:
        account = file.account
        if subscription.channel == "balances":
            return balances.snapshot(account.balances)
        if subscription.channel == "ownTrades":
            fills: Sequence[FillRecord] = list(file.fills)[-private.SNAPSHOT_TRADES :]
            if subscription.values.get("consolidate_taker", True):
                fills = consolidate(fills)  # else a fill told before would come again as several
            return private.trades_snapshot(fills)
        count = None
        if subscription.values.get("ratecounter"):
            count = max((account.rate_counter(pair).count(now_us) for pair in self._pairs), default=0)
        return private.orders_snapshot(file.live.values(), count)

    def leave(self, subscription: Subscription) -> None:
        """Send it nothing more; its token may be void by now, so nobody says whose it was."""
        for file in self._files.values():
            listeners = file.subscriptions[subscription.channel]
            if subscription in listeners:
                listeners.remove(subscription)

    def order(self, record: OrderRecord, payload: Payload, now_us: int) -> None:
        """Tell the openOrders subscribers of a change; those who asked for it with the rate counter."""
        file = self._files[record.owner]
        made: dict[bool, bytes] = {}
        for subscription in file.subscriptions["openOrders"]:
            counted = bool(subscription.values.get("ratecounter"))
            if counted not in made:
                count = file.account.rate_counter(record.instrument.wsname).count(now_us) if counted else None
                made[counted] = payload(record, count)
            subscription.publish(made[counted])

    def fills(self, owner: str, fills: Sequence[tuple[FillRecord, bool]]) -> None:
        """Tell the ownTrades subscribers of one transaction's fills; a taker's are merged unless unwanted.

        Args:
            owner: name of the account.
            fills: each with whether its order was the taker.
        """
        for subscription in self._files[owner].subscriptions["ownTrades"]:
            told = [fill for fill, _ in fills]
            if subscription.values.get("consolidate_taker", True):
                told = [fill for fill, taker in fills if not taker]
                told += consolidate([fill for fill, taker in fills if taker])
            subscription.publish(private.trades(told))

    def balances(self, owner: str, entries: Iterable[LedgerEntry]) -> None:
        """Tell the truth log and the balances subscribers of new entries of an account's ledger."""
        for entry in entries:
            posting = entry.posting
            self.tell(
                "Ledger",
                entry.at_us,
                account=owner,
                ledger_id=entry.ledger_id,
                ref_id=entry.ref_id,
                type=entry.kind[0],
                asset=posting.asset,
                amount=posting.amount,
                fee=posting.fee,
                balance=posting.balance,
            )
            for subscription in self._files[owner].subscriptions["balances"]:
                subscription.publish(balances.update(entry))

    def truth(self, event: str, record: OrderRecord, now_us: int, **more: object) -> None:
        """Tell the truth log of an order."""
        self.tell(
            event,
            now_us,
            order_id=record.order_id,
            account=record.owner,
            pair=record.instrument.wsname,
            **more,
        )

    def failed(self, error: Exception, now_us: int) -> None:
        """Tell the truth log of a mistake of our own: its kind and place, as its text may hold a secret."""
        self.tell("InternalError", now_us, error=type(error).__name__, place=place_of(error))
