"""The tools: commands that are not in the catalog, each with its help."""

from __future__ import annotations

from krakenws.record import record


@record
class Tool:
    """A command that is not in the catalog.

    `takes_words` tells whether words may follow its name; `instead`, where what they would say belongs.
    """

    name: str
    help: str
    usage: str
    examples: tuple[str, ...]
    notes: tuple[str, ...] = ()
    takes_words: bool = True
    instead: str = ""


TOOLS: tuple[Tool, ...] = (
    Tool(
        "token",
        "Fetch a WebSocket token with your API key and store it in WS_Token.",
        "token [--token-file FILE] [--key-file FILE]",
        ("token", "token --key-file ~/kraken.key"),
        (
            "API key and secret: KRAKEN_API_KEY and KRAKEN_API_SECRET, or a key file of two lines, mode 0600",
            "the key needs the permission 'WebSocket interface'; a token must be used within 15 minutes",
            "with a key at hand no stored token is needed: each private connection fetches a fresh one",
            "the token is stored with mode 0600 and never printed",
        ),
        takes_words=False,
    ),
    Tool(
        "pairs",
        "List tradable pairs with their precisions.",
        "pairs [PATTERN…] [--refresh]",
        ("pairs '*/EUR'", "pairs XBT/USD -o json"),
        ("the list is cached for a day; offline the cached list is shown and stderr says how old it is",),
    ),
    Tool(
        "intents",
        "List what was sent to trade, and what became of it.",
        "intents [--count N]",
        ("intents", "intents --count 5 -o json"),
        (
            "open: no verdict yet; unknown: looked for in vain; settled: cannot be found out any more",
            "the journal is state.db in the state directory; it holds no token and no key",
        ),
        takes_words=False,
    ),
    Tool(
        "reconcile",
        "Find out what became of every request whose outcome is open.",
        "reconcile",
        ("reconcile", "reconcile -o json"),
        (
            "looks in open orders and own trades, and with an API key in closed orders; sends nothing else",
            "exit code 0 when no outcome is left open, else 6; other endpoints and keys are left alone",
            "what is nowhere to be found after a quarter of an hour was not placed",
            "what cannot be told even then is settled: its row says what to look at",
        ),
        takes_words=False,
    ),
    Tool(
        "catalog",
        "Describe every channel and command; --schema prints the JSON Schema of every event.",
        "catalog [NAME…] [--schema]",
        ("catalog", "catalog book -o json", "catalog --schema"),
    ),
    Tool(
        "wait",
        "Return when a condition on verified market data is true.",
        "wait 'CONDITION' [--timeout DURATION]",
        (
            "wait 'XBT/USD bid >= 65000' --timeout 1h",
            "wait 'XBT/USD spread < 0.5 and ETH/USD last < 3000 for 3s'",
            "wait '(XBT/USD mid > 65000 or XBT/USD mid < 60000) and XBT/USD volume > 1000'",
        ),
        (
            "comparisons >= <= > < == != of PAIR QUANTITY with a number or with another PAIR QUANTITY",
            "ask, bid, mid and spread come from the book, once Kraken's checksum has proved it",
            "last is that of each trade, of the ticker until there is one; volume is of 24 hours",
            "and binds tighter than or; parentheses group; 'for 3s' at the end: without a break for so long",
            "a gap or a lost connection suspends it, and lets 'for' begin anew, until data is verified again",
            "exit codes: 0 met; at the time-out 124 when it is not met, 9 when nobody can tell",
            "after Ctrl-C or SIGTERM 130, so that 'wait … && …' does not go on",
        ),
    ),
    Tool(
        "doctor",
        "Look at everything between here and the exchange, and say what mends what is wrong.",
        "doctor",
        ("doctor", "doctor -o json", "doctor --sandbox"),
        (
            "files, budget, proxy, names, endpoints, certificates, status, clock, key, its rights, token",
            "each line is ok, warning, failed, or skipped when it could not be looked at",
            "exit code 0 unless a line failed: 2 URL, 4 the way, 3 key, 9 clock, 7 state; the first of these",
            "only reads, and shows no secret; it counts as two connections",
        ),
        takes_words=False,
    ),
    Tool(
        "guard",
        "Run a command under the dead man's switch: renewed while it lives, left to fire on a crash.",
        "guard TIMEOUT [--on-failure cancel|leave] [--pass-secrets] -- CMD…",
        ("guard 60s -- ./bot.sh", "guard 2m --on-failure leave -- python3 bot.py --pair XBT/USD"),
        (
            "the switch covers ALL open orders of the account, whoever placed them",
            "armed before CMD starts, renewed each third of TIMEOUT (1s to 86399s; Kraken advises 60s)",
            "CMD ends with 0: switched off; otherwise all orders are cancelled (see --on-failure)",
            "its exit code is CMD's (128 + N for signal N); 6 when CMD did well and the switch may be on",
            "the guard killed, or cut off from Kraken: the switch fires; what CMD orders afterwards stands",
            "in maintenance the switch is off, for it would fire when the engine returns",
            "SIGINT, SIGTERM and SIGHUP are passed on to CMD; one after its end stops the waiting",
            "CMD has stdin, stdout and stderr to itself; the guard's own words go to stderr",
        ),
    ),
    Tool(
        "decode",
        "Read recorded frames and print them in any output format; no network.",
        "decode [FILE|-]",
        ("decode frames.jsonl -o json", "krakenws book XBT/USD -o raw | krakenws decode -o csv"),
        (
            'one frame a line, or lines of {"t": SECONDS, "dir": "in"|"out", "frame": TEXT}',
            "the first frame tells which API they are of, unless --api does",
        ),
    ),
    Tool(
        "session",
        "Keep one connection for many commands: a line in, JSON events out.",
        "session [--listen unix:PATH]",
        (
            "session",
            "session --listen unix:kraken.sock",
        ),
        (
            "a line is a command in the words of the command line, or a JSON object: docs/session.md",
            "its answers carry the line's id=TEXT; unsubscribe NAME …, status, help and quit are its own",
            "intent=NAME in a line names a trading command, as --intent does on the command line",
            "connections are opened when first needed, and kept; a wrong line is answered by an error",
            "the end of standard input waits for open answers and leaves",
        ),
        takes_words=False,
        instead="commands are its lines of standard input",
    ),
    Tool(
        "sandbox",
        "Run a Kraken on this machine, with a market that lives and money that is not real.",
        "sandbox [--listen HOST:PORT] [--seed N] [--pairs PAIR,…] [--rate N] [--tls CERT KEY|self]"
        " [--faults SPEC] [--truth FILE]",
        ("sandbox", "sandbox --seed 7 --rate 50 --listen 127.0.0.1:9000"),
        (
            "API v1 at / and /auth (private), v2's balances at /auth/v2, REST under /0/public and /0/private",
            "then: krakenws --sandbox ticker XBT/USD, or any other client with the endpoints it prints",
            "without one running, --sandbox on any command starts one for that run",
        ),
        takes_words=False,
        instead="pairs are given with --pairs",
    ),
    Tool(
        "replay",
        "Serve a recording as an exchange on loopback.",
        "replay FILE|demo [--speed N|max] [--listen HOST:PORT] [--loop] [--tls CERT KEY|self]",
        ("replay demo", "replay frames.jsonl --speed max --listen 127.0.0.1:9000"),
        ("then: krakenws ticker XBT/USD --public-url ws://127.0.0.1:8766",),
    ),
)
