"""Kraken's error strings: each one that is documented, and what has to happen for the sandbox to give it.

The reference page is made of this, the fault `refuse` takes no other text, and a test provokes every string.
In a text, <…> stands for what varies.

Source: v1.md sections 5.7, 8 and 9; auth.md section 4; the guide "Spot Error Messages" of docs.kraken.com,
which says what the strings mean. Where it is silent, what brings them about is our choice.
"""

from __future__ import annotations

_ONE_ACCOUNT = "one account, which may do everything"
_NO_LOAD = "requests are answered one after the other"
_NO_CAUSE = "Kraken does not say when"

WHEN: dict[str, dict[str, str]] = {
    "Subscriptions and messages": {
        "Already subscribed": "the channel, its depth or interval, and the pair are subscribed already",
        "Currency pair not in ISO 4217-A3 format <pair>": "the pair has no slash",
        "Currency pair not supported <pair>": "the pair is well-formed and not traded",
        "Pair(s) not found": "a public channel without `pair`",
        "Pair field must be an array": "`pair` is no list",
        "Pair field unsupported for this subscription type": "`pair` with a private channel",
        "Subscription depth not supported": "`depth` is none of those offered",
        "Subscription book depth must be an integer": "`depth` is quoted, say",
        "Subscription ohlc interval not supported": "`interval` is none of those offered",
        "Subscription ohlc interval must be an integer": "`interval` is quoted, say",
        "Subscription ohlc requires interval": "`interval` is null; without the field it is 1",
        "Subscription name invalid": "there is no such channel: `balances` on API v1, say",
        "Subscription field must be an object": "`subscription` is missing or no object",
        "Unsupported field: <field> for the given msg type: <type>": "a field that does not belong there",
        "Subscription object unsupported field": "the same, in releases before 1.9.2",
        "Subscription Not Found": "unsubscribing what is not subscribed",
        "Malformed request": "no JSON object, or a `subscription` without `name`",
        "Event(s) not found": "no `event`",
        "Unsupported event": "an unknown `event`",
        "Exceeded msg rate": "too many messages on one connection (`--limits`)",
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com": (
            "a private channel or an order on the public address"
        ),
        "Public channels not available in this endpoint": "a public channel on the private address",
        "Token(s) not found": "a private request without `token`",
        "<Field> field must be <type>": "a field of a command has another JSON type",
    },
    "Session and key": {
        "ESession:Invalid session": "the token is unknown, void, or was not used within fifteen minutes",
        "EAPI:Invalid key": "REST: the key is unknown",
        "EAPI:Invalid signature": "REST: the signature does not fit key, path, nonce and body",
        "EAPI:Invalid nonce": "REST: the nonce is none, or not above the key's last",
        "EGeneral:Permission denied": "the key lacks the permission, or `otp` where it demands one",
        "EGeneral:Temporary lockout": "REST: twenty wrong keys, signatures or nonces in a row",
        "EAccount:Invalid permissions": "the account may not trade that, where it lives",
        "EAuth:Account temporary disabled": "Kraken has locked the account",
        "EAuth:Account unconfirmed": "the account is not verified",
        "EAuth:Failed": "known from a client's table only",
        "EAuth:Rate limit exceeded": "in Kraken's list, without an explanation",
        "EAuth:Too many requests": "in Kraken's list, without an explanation",
    },
    "Requests": {
        "EGeneral:Invalid arguments": "REST: unreadable, ambiguous, or a private call by GET",
        "EGeneral:Invalid arguments:<field>": "a field is missing, or has a value that it cannot have",
        "EGeneral:Invalid arguments:Index unavailable": "REST: `trigger=index`; there is no index here",
        "EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market": (
            "`nompp` with any other order type"
        ),
        "EGeneral:Unknown method": "REST: there is no such call",
        "EGeneral:Internal error": "a defect of the sandbox; the truth file tells where",
        "EGeneral:Too many requests": "REST: too many public calls of one address (`--limits`)",
        "EAPI:Rate limit exceeded": "REST: the key's call counter is above its tier's ceiling (`--limits`)",
        "EAPI:Bad request": "known from clients' tables only",
        "EAPI:Feature disabled": "known from clients' tables only",
        "EQuery:Unknown asset pair": "REST and orders: there is no such pair",
        "EQuery:Unknown asset": "REST `Assets`: there is no such asset",
        "ETrade:Invalid request": "in Kraken's list, without an explanation",
    },
    "State of the exchange": {
        "EService:Unavailable": "an order during maintenance",
        "EService:Busy": "the engine is overloaded",
        "EService:Throttled: <unix time>": "too many requests at once: come back at that time",
        "EService:Market in cancel_only mode": "a new order while system or pair are in that mode",
        "EService:Market in post_only mode": "an order that is not post-only while in that mode",
        "EService:Market in limit_only mode": "an order that is no limit order while in that mode",
        "EService:Deadline elapsed": "`deadline` has passed",
    },
    "Orders": {
        "EOrder:Insufficient funds": "the balance less all holds does not cover cost and fee",
        "EOrder:Order minimum not met": "less than the pair's `ordermin`",
        "EOrder:Cost minimum not met": "price times volume is less than the pair's `costmin`",
        "EOrder:Tick size check failed": "the price is no multiple of the pair's `tick_size`",
        "EOrder:Invalid price": "no price, or more decimals than `pair_decimals`; a text follows",
        "EOrder:Invalid order": "an edit or amendment that this order does not allow",
        "EOrder:Post only order": "a post-only order that would take",
        "EOrder:Unknown order": "no open order has that id",
        "EOrder:Rate limit exceeded": "the account's counter on the pair is at its tier's ceiling",
        "EOrder:Orders limit exceeded": "as many open orders on the pair as the tier allows",
        "EOrder:Scheduled orders limit exceeded": "as many orders with a later start as the tier allows",
        "EOrder:Domain rate limit exceeded": "all accounts of one master are too fast",
        "EOrder:Trading agreement required": "legacy, German residents",
        "EBM:limit exceeded:CAL": "the yearly limit on purchases in Canada",
    },
    "Margin": {
        "EOrder:Cannot open position": "margin at a tier that has none (*starter*)",
        "EOrder:Cannot open opposing position": "the same, beyond closing a position of the other side",
        "EOrder:Margin allowance exceeded": "positions would cost more than the tier's allowance",
        "EOrder:Margin level too low": "the collateral does not cover margin and fee",
        "EOrder:Margin position size exceeded": "the position on the pair would cost more than a million USD",
        "EOrder:Insufficient margin": "Kraken has nothing left to lend",
        "EOrder:Positions limit exceeded": "as many open positions as the tier allows",
        "EOrder:Unknown position": "settling a position that does not exist",
        "EOrder:Reduce only:No position exists": "a reduce-only order without a position to reduce",
        "EOrder:Reduce only:Position is closed": "why the rest of such an order was cancelled",
        "EOrder:Reduce only:Non-PC": "margin in Ontario, for who is no *Permitted Client*",
    },
}
"""What brings each string about, by what it is about."""

ABSENT = {
    "Subscription object unsupported field": "replaced by `Unsupported field`",
    "EAccount:Invalid permissions": _ONE_ACCOUNT,
    "EAuth:Account temporary disabled": _ONE_ACCOUNT,
    "EAuth:Account unconfirmed": _ONE_ACCOUNT,
    "EAuth:Failed": _NO_CAUSE,
    "EAuth:Rate limit exceeded": _NO_CAUSE,
    "EAuth:Too many requests": _NO_CAUSE,
    "EAPI:Bad request": _NO_CAUSE,
    "EAPI:Feature disabled": _NO_CAUSE,
    "ETrade:Invalid request": _NO_CAUSE,
    "EService:Busy": _NO_LOAD,
    "EService:Throttled: <unix time>": _NO_LOAD,
    "EOrder:Domain rate limit exceeded": "no subaccounts",
    "EOrder:Trading agreement required": _ONE_ACCOUNT,
    "EBM:limit exceeded:CAL": _ONE_ACCOUNT,
    "EOrder:Insufficient margin": "lending has no end",
    "EOrder:Reduce only:Non-PC": _ONE_ACCOUNT,
}
"""Why nothing brings a string about here, so that only the fault `refuse` gives it."""

_BEGINS = tuple(
    filter(None, (text.partition("<")[0].rstrip(": ") for texts in WHEN.values() for text in texts))
)


def is_documented(text: str) -> bool:
    """Whether a text is one of Kraken's error strings, with or without what may follow it (auth.md 4)."""
    return text.startswith(_BEGINS)
