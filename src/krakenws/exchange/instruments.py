"""The pairs and assets that the sandbox trades: Kraken's names, decimals, minimums and fees.

Names, decimals, tick sizes, minimums and leverage are Kraken's: of 2025 and 2026 for the busiest pairs,
0G/EUR and ACA/EUR, of 2021 for the others, whose XBT and ETH minimums are today's. The wire's price decimals
are the captured ones where there is a capture, and like those of similar pairs elsewhere, for no rule leads
to them (quirk B6). Chosen here: the start prices, as of November 2026; how lively a pair is; minimum costs
in francs, pounds, yen and ether; the tick of PAXG/USD, coarser than its decimals, which happens (quirk O13);
and the channel numbers of pairs that were never captured.

Here for a reason: nine-decimal prices (XDG/USD, ADA/XBT, GRT/ETH), five-decimal quantities (0G/EUR), no price
decimals at all (XBT/JPY), books of fewer than ten levels (`THIN`, quirk B15), pairs that rest for minutes
(`QUIET`, quirk L7), and one that only cancels (ACA/EUR).

Source: REST `AssetPairs` and `Assets`; v1.md sections 4 and 12; quirks B6, B15, O13.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.record import record

DEEP = "deep"
NORMAL = "normal"
THIN = "thin"
QUIET = "quiet"

ONLINE = "online"
CANCEL_ONLY = "cancel_only"

WIRE_QTY_DECIMALS = 8
"""Decimals of every quantity on API v1's wire, whatever the pair's lot decimals are."""


@record
class Asset:
    """A currency, as REST `Assets` describes it.

    Attributes:
        key: its name in balances and pairs, `XXBT`, `ZUSD`, `SOL`.
        altname: its name in wsnames, `XBT`.
        symbol: its name in API v2, `BTC`.
        decimals: of a balance.
        display_decimals: of a balance shown to people.
    """

    key: str
    altname: str
    symbol: str
    decimals: int
    display_decimals: int


@record
class Instrument:
    """A pair, as REST `AssetPairs` describes it, and what its market is like.

    Attributes:
        wsname: its name in API v1, `XBT/USD`.
        altname: its name in order descriptions and REST input, `XBTUSD`.
        rest_key: its name in REST output, `XXBTZUSD`.
        symbol: its name in API v2, `BTC/USD`.
        base: key of the asset traded, `XXBT`.
        quote: key of the asset it is paid in, `ZUSD`.
        number: N of its channel ids, 16 * N + k.
        pair_decimals: of a price in an order.
        wire_price_decimals: of every price on API v1's wire.
        lot_decimals: of a quantity in an order.
        cost_decimals: of price times quantity.
        tick_size: prices are multiples of it.
        ordermin: the smallest quantity of an order, in `base`.
        costmin: the smallest price times quantity of an order, in `quote`.
        leverage_buy: leverages allowed to buyers, ascending; none without margin trading.
        leverage_sell: the same to sellers.
        fees: taker fees: (30-day volume in ZUSD from which it holds, percent), ascending.
        fees_maker: the same for makers.
        status: the pair's own: `online`, `cancel_only`, `post_only`, `limit_only`, `reduce_only`.
        start_price: where the market begins, a multiple of `tick_size`.
        liquidity: `DEEP`, `NORMAL`, `THIN` (fewer than ten levels) or `QUIET` (and minutes without a change).
    """

    wsname: str
    altname: str
    rest_key: str
    symbol: str
    base: str
    quote: str
    number: int
    pair_decimals: int
    wire_price_decimals: int
    lot_decimals: int
    cost_decimals: int
    tick_size: Decimal
    ordermin: Decimal
    costmin: Decimal
    leverage_buy: tuple[int, ...]
    leverage_sell: tuple[int, ...]
    fees: tuple[tuple[int, Decimal], ...]
    fees_maker: tuple[tuple[int, Decimal], ...]
    status: str
    start_price: Decimal
    liquidity: str


def _schedule(steps: str) -> tuple[tuple[int, Decimal], ...]:
    """Read "volume:percent …"."""
    pairs = (step.split(":") for step in steps.split())
    return tuple((int(volume), Decimal(percent)) for volume, percent in pairs)


_CRYPTO_FEES = (
    _schedule(
        "0:0.4 10000:0.35 50000:0.24 100000:0.22 250000:0.2 500000:0.18 1000000:0.16 2500000:0.14 "
        "5000000:0.12 10000000:0.1 100000000:0.08 500000000:0.05"
    ),
    _schedule(
        "0:0.25 10000:0.2 50000:0.14 100000:0.12 250000:0.1 500000:0.08 1000000:0.06 2500000:0.04 "
        "5000000:0.02 10000000:0 100000000:0 500000000:0"
    ),
)
_STABLE_FEES = (_schedule("0:0.2 50000:0.16 100000:0.12 250000:0.08 500000:0.04 1000000:0"),) * 2
_STABLE = frozenset({"USDT", "USDC", "ZEUR", "ZUSD"})
"""As a base asset, of a pair with the fees of stablecoins and foreign exchange."""

_COSTMIN = {
    "ZUSD": "0.5",
    "ZEUR": "0.45",
    "ZGBP": "0.4",
    "CHF": "0.45",
    "ZJPY": "50",
    "USDT": "0.5",
    "XXBT": "0.00002",
    "XETH": "0.0002",
}
_SYMBOLS = {"XBT": "BTC", "XDG": "DOGE"}


def _asset(line: str) -> Asset:
    key, altname, decimals, display_decimals = line.split()
    return Asset(key, altname, _SYMBOLS.get(altname, altname), int(decimals), int(display_decimals))


# key, altname, decimals, display decimals
ASSETS: tuple[Asset, ...] = tuple(
    map(
        _asset,
        """\
XXBT   XBT   10  5
XETH   ETH   10  5
ZUSD   USD    4  2
ZEUR   EUR    4  2
ZGBP   GBP    4  2
CHF    CHF    4  2
ZJPY   JPY    2  0
USDT   USDT   8  4
USDC   USDC   8  4
SOL    SOL   10  5
XXRP   XRP    8  5
XXDG   XDG    8  2
ADA    ADA    8  6
XLTC   LTC   10  5
LINK   LINK  10  5
DOT    DOT   10  8
XXMR   XMR   10  5
BCH    BCH   10  5
XXLM   XLM    8  5
ATOM   ATOM   8  6
TRX    TRX    8  6
UNI    UNI   10  5
AAVE   AAVE  10  5
PAXG   PAXG  10  5
XTZ    XTZ    8  6
SC     SC    10  5
GRT    GRT   10  5
KSM    KSM   10  8
XMLN   MLN   10  5
0G     0G    10  5
ACA    ACA   10  5""".splitlines(),
    )
)
_KEYS = {asset.altname: asset.key for asset in ASSETS}


def _instrument(line: str) -> Instrument:
    fields = line.split()
    wsname, rest_key, number, pair_decimals, wire, lot, cost, tick, ordermin, most, price, liquidity = fields
    base, _, quote = wsname.partition("/")
    altname = base + quote
    leverage = tuple(range(2, int(most) + 1))
    fees, fees_maker = _STABLE_FEES if _KEYS[base] in _STABLE else _CRYPTO_FEES
    return Instrument(
        wsname,
        altname,
        altname if rest_key == "=" else rest_key,
        f"{_SYMBOLS.get(base, base)}/{_SYMBOLS.get(quote, quote)}",
        _KEYS[base],
        _KEYS[quote],
        int(number),
        int(pair_decimals),
        int(wire),
        int(lot),
        int(cost),
        Decimal(tick),
        Decimal(ordermin),
        Decimal(_COSTMIN[_KEYS[quote]]),
        leverage,
        leverage,
        fees,
        fees_maker,
        CANCEL_ONLY if base == "ACA" else ONLINE,
        Decimal(price),
        liquidity,
    )


# wsname, REST key ("=": the altname), N of its channel ids; decimals of price, price on the wire, quantity
# and cost; tick, ordermin, highest leverage (1: none), start price, liquidity
INSTRUMENTS: tuple[Instrument, ...] = tuple(
    map(
        _instrument,
        """\
XBT/USD   XXBTZUSD   21  1 5 8  5  0.1        0.00005  10  84012.5     deep
ETH/USD   XETHZUSD   17  2 5 8  5  0.01       0.001    10  2351.20     deep
SOL/USD   =         410  2 5 8  5  0.01       0.06     10  112.43      deep
XRP/USD   XXRPZUSD   56  5 8 8  8  0.00001    1.65     10  1.48215     deep
XDG/USD   =         144  7 9 8  9  0.0000001  50       10  0.1043172   deep
XBT/EUR   XXBTZEUR   20  1 5 8  5  0.1        0.00005   5  72424.6     deep
ETH/EUR   XETHZEUR   16  2 5 8  5  0.01       0.001     5  2026.90     deep
ETH/XBT   XETHXXBT   13  6 8 8 10  0.000001   0.001     5  0.027986    deep
XBT/USDT  =         213  1 5 8  5  0.1        0.00005  10  84025.1     deep
USDT/USD  USDTZUSD   64  4 8 8  8  0.0001     5         2  0.9998      deep
USDC/USD  =         184  4 8 8  8  0.0001     5         3  1.0000      deep
EUR/USD   ZEURZUSD  193  5 5 8  5  0.00001    5         1  1.15998     deep
ADA/USD   =          82  6 8 8  8  0.000001   25        3  0.421310    normal
LTC/USD   XLTCZUSD   27  2 5 8  5  0.01       0.05      3  71.85       normal
LTC/EUR   XLTCZEUR   26  2 5 8  5  0.01       0.05      3  61.94       normal
LINK/USD  =         196  5 8 8  8  0.00001    0.5       3  11.20460    normal
DOT/USD   =         252  4 6 8  6  0.0001     0.5       3  2.1184      normal
XMR/USD   XXMRZUSD   62  2 8 8  8  0.01       0.05      2  341.07      normal
BCH/USD   =          75  2 5 8  5  0.01       0.02      3  432.61      normal
XLM/EUR   XXLMZEUR   51  6 8 8  8  0.000001   20        2  0.174028    normal
ATOM/USD  =         174  4 6 8  6  0.0001     1         2  2.4307      normal
TRX/USD   =         231  6 8 8  8  0.000001   250       3  0.291544    normal
UNI/USD   =         269  3 5 8  5  0.001      1         1  5.127       normal
AAVE/USD  =         298  2 5 8  5  0.01       0.05      1  122.60      normal
XBT/GBP   XXBTZGBP   22  1 5 8  5  0.1        0.00005   3  63812.9     normal
XBT/JPY   XXBTZJPY   23  0 5 8  5  1          0.00005   1  13064500    normal
XTZ/EUR   =         166  4 6 8  6  0.0001     3         3  0.4925      normal
PAXG/USD  =         222  2 5 8  5  0.05       0.004     1  4187.35     thin
XBT/CHF   =          29  1 5 8  5  0.1        0.00005   1  67680.2     thin
ETH/CHF   =          31  2 5 8  5  0.01       0.001     1  1893.85     thin
ADA/XBT   =          85  8 9 8  9  0.00000001 25        3  0.00000501  thin
XDG/XBT   XXDGXXBT   60  8 9 8  9  0.00000001 50        1  0.00000124  thin
GRT/ETH   =         283  7 9 8  9  0.0000001  20        1  0.0000204   thin
KSM/XBT   =         228  6 8 8  8  0.000001   0.1       1  0.000112    thin
SC/EUR    =         120  5 6 8  6  0.00001    1500      1  0.00262     thin
0G/EUR    =        1204  3 7 5  5  0.001      35        1  0.138       thin
MLN/EUR   XMLNZEUR   48  3 5 8  5  0.001      0.2       1  5.410       quiet
ACA/EUR   =        1117  5 6 8  5  0.00001    12000     1  0.00042     quiet""".splitlines(),
    )
)


def _spellings() -> dict[str, Instrument]:
    found: dict[str, Instrument] = {}
    for instrument in INSTRUMENTS:
        names = (instrument.wsname, instrument.altname, instrument.rest_key, instrument.symbol)
        for name in (*names, instrument.symbol.replace("/", "")):
            found[name.upper()] = instrument
    return found


_BY_SPELLING = _spellings()


def find(name: str) -> Instrument | None:
    """Return the pair of any spelling (`XBT/USD`, `XBTUSD`, `XXBTZUSD`, `BTC/USD`, `btcusd`), or None."""
    return _BY_SPELLING.get(name.upper())
