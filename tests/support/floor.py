"""A market without traders of its own: users of the real desk and the real engine, in memory."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from krakenws.exchange.accounts import Account
from krakenws.exchange.desk import Desk
from krakenws.exchange.draws import Draws
from krakenws.exchange.instruments import find
from krakenws.exchange.matching import Engine
from krakenws.exchange.ratecounter import Tier
from krakenws.record import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.instruments import Instrument

START_US = 1_795_337_417_000_000
FREE = Tier("free", 10**9, 375, 10**6)


class Floor:
    """XBT/USD at 100,000, and whoever has been given an account.

    The desk takes it for a market: it has an instrument and an engine, takes events and lets time pass.
    """

    def __init__(self) -> None:
        markets: dict[str, Any] = {}
        self.told: list[dict[str, object]] = []
        self.desk = Desk(markets, Draws(1), self._tell)
        self.instrument = _instrument()
        self.engine = Engine(
            self.instrument.wsname,
            tick_size=self.instrument.tick_size,
            lot_size=Decimal(1).scaleb(-self.instrument.lot_decimals),
            last_price=self.instrument.start_price,
            clearing=self.desk.open_pair(self.instrument),
        )
        markets[self.instrument.wsname] = self

    def _tell(self, event: str, time_us: int, **fields: object) -> None:
        self.told.append({"event": event, "time_us": time_us, **fields})

    def open_account(self, name: str, wealth: Mapping[str, Decimal], tier: Tier = FREE) -> Account:
        account = Account(name, tier, wealth)
        self.desk.open_account(account)
        return account

    def take(self, events: Sequence[EngineEvent], at_us: int) -> None:
        market: Any = self
        self.desk.digest(market, events, at_us)

    def advance(self, to_us: int) -> int:
        self.take(self.engine.expire(to_us), to_us)
        return to_us


def _instrument() -> Instrument:
    """XBT/USD with fees that fall with the volume."""
    found = find("XBT/USD")
    assert found is not None
    return replace(found, start_price=Decimal(100_000), fees=((0, Decimal("0.41")), (900, Decimal("0.37"))))
