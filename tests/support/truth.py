"""Reads an exchange's own account (`--truth`): what follows from its lines, and from nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    Line = dict[str, Any]

ZERO = Decimal(0)


class Order:
    """An account's order, as its lines tell it."""

    def __init__(self, line: Line) -> None:
        self.account: str = line["account"]
        self.pair: str = line["pair"]
        self.qty = Decimal(line["order"]["qty"])
        self.side: str = line["order"]["side"]
        self.is_margin: bool = line["order"]["margin"]
        self.status = "open"
        self.filled = self.cost = self.fee = ZERO
        self.ended: Line | None = None


class Rebuilt:
    """The exchange as its account has it.

    Attributes:
        lines: all of them.
        books: by pair, `buy` and `sell`: price to quantity.
        trades: by pair, every public trade, with its time.
        balances: by account and asset.
        orders: by id.
        fills: `Settled` lines by exec_id.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        self.lines: list[Line] = []
        self.books: dict[str, dict[str, dict[Decimal, Decimal]]] = {}
        self.trades: dict[str, list[Line]] = {}
        self.balances: dict[str, dict[str, Decimal]] = {}
        self.orders: dict[str, Order] = {}
        self.fills: dict[str, Line] = {}
        for line in lines:
            self.read(line)

    def read(self, line: Line) -> None:
        """Take in the next line."""
        assert line["seq"] == len(self.lines) + 1
        assert not self.lines or line["time_us"] >= self.lines[-1]["time_us"], (self.lines[-1], line)
        self.lines.append(line)
        read = getattr(self, f"_{line['event'].lower()}", None)
        if read is not None:
            read(line)

    def top(self, pair: str) -> tuple[object, object]:
        """Return the ten best bids and asks of a pair."""
        book = self.books[pair]
        return sorted(book["buy"].items(), reverse=True)[:10], sorted(book["sell"].items())[:10]

    def _account(self, line: Line) -> None:
        self.balances[line["account"]] = {n: Decimal(amount) for n, amount in line["balances"].items()}

    def _book(self, line: Line) -> None:
        self.books[line["pair"]] = {
            side: {Decimal(price): Decimal(qty) for price, qty in line[name]}
            for side, name in (("buy", "bids"), ("sell", "asks"))
        }
        self.trades[line["pair"]] = []

    def _market(self, line: Line) -> None:
        pair = line["pair"]
        for side, price, qty in line["levels"]:
            levels = self.books[pair][side]
            levels[Decimal(price)] = Decimal(qty)
            if not levels[Decimal(price)]:
                del levels[Decimal(price)]
        self.trades[pair] += ({**trade, "time_us": line["time_us"]} for trade in line["trades"])

    def _scheduled(self, line: Line) -> None:
        self.orders[line["order"]["order_id"]] = Order(line)

    _accepted = _scheduled

    def _amended(self, line: Line) -> None:
        self.orders[line["order_id"]].qty = Decimal(line["qty"])

    def _settled(self, line: Line) -> None:
        """Count a fill, which is half of a public trade."""
        self.fills[line["exec_id"]] = line
        order = self.orders[line["order_id"]]
        trade = next(t for t in reversed(self.trades[line["pair"]]) if t["trade_id"] == line["trade_id"])
        assert (trade["price"], trade["qty"], trade["time_us"]) == (
            line["price"],
            line["qty"],
            line["time_us"],
        )
        assert trade[f"{line['role']}_id"] == line["order_id"]
        qty, cost, fee = (Decimal(line[name]) for name in ("qty", "cost", "fee"))
        order.filled += qty
        order.cost += cost
        order.fee += fee

    def _ledger(self, line: Line) -> None:
        """Count what moved a balance; of a fill without margin it is the quantity or the cost."""
        balances, asset = self.balances[line["account"]], line["asset"]
        amount, fee = Decimal(line["amount"]), Decimal(line["fee"])
        balances[asset] = balances.get(asset, ZERO) + amount - fee
        assert balances[asset] == Decimal(line["balance"])
        fill = self.fills.get(line["ref_id"])
        if fill is not None and not self.orders[fill["order_id"]].is_margin:
            name = "qty" if (amount > 0) == (self.orders[fill["order_id"]].side == "buy") else "cost"
            assert abs(amount) == Decimal(fill[name]), (fill, line)
            assert name == "qty" or fee in {ZERO, Decimal(fill["fee"])}, (fill, line)

    def _ended(self, line: Line) -> None:
        order = self.orders.get(line["order_id"])
        if order is None:  # a position settled with own money
            return
        order.status, order.ended = line["status"], line
        told = [Decimal(line[name]) for name in ("qty", "filled", "cost", "fee")]
        assert told == [order.qty, order.filled, order.cost, order.fee], line
