#!/usr/bin/env bash
# Shows what krakenws does, against an exchange on this machine: no network, no account, about ten seconds.
# Run it with `make demo`, or by itself when krakenws is installed.
set -u

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d -t krakenws-demo.XXXXXX) || exit 1
sandbox=
follower=
failed=0

end() {
    for process in $follower $sandbox; do
        kill "$process" 2>/dev/null
        wait "$process" 2>/dev/null
    done
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
else
    bold='' dim='' plain=''
fi

title() { printf '\n%s── %s%s\n' "$bold" "$1" "$plain"; }
say() { printf '%s   %s%s\n' "$dim" "$1" "$plain"; }

# run CODE COMMAND: print the command as one would type it, run it, say how it ended; CODE is how it should.
run() {
    printf '\n%s$ %s%s\n' "$bold" "$2" "$plain"
    eval "$2" 2>&1
    local code=$?
    [ "$code" -eq 0 ] || printf '%s[exit code %s]%s\n' "$dim" "$code" "$plain"
    if [ "$code" -ne "$1" ]; then
        printf 'demo: exit code %s was expected here\n' "$1" >&2
        failed=1
    fi
}

# The user's own settings stay out of the demo, and the demo's files out of the user's directories.
for name in ${!KRAKENWS_@}; do unset "$name"; done
unset KRAKEN_API_KEY KRAKEN_API_SECRET
export XDG_CONFIG_HOME="$work" XDG_STATE_HOME="$work" XDG_CACHE_HOME="$work"
ln -s "$root/krakenws.py" "$work/krakenws.py"
cd "$work" || exit 1

title "An exchange on this machine: living markets, and money that is not real"
printf '\n%s$ krakenws sandbox --rate 100 --listen 127.0.0.1:0 &%s\n' "$bold" "$plain"
mkfifo ready
krakenws sandbox --rate 100 --listen 127.0.0.1:0 >ready 2>sandbox.log &
sandbox=$!
exec 3<ready
for name in public private rest key secret; do
    if ! read -r -t 20 line <&3; then
        echo "demo: the sandbox did not start" >&2
        cat sandbox.log >&2
        exit 1
    fi
    echo "$line"
    printf -v "$name" '%s' "${line#*: }"
done
export KRAKENWS_PUBLIC_URL="$public" KRAKENWS_PRIVATE_URL="$private" KRAKENWS_REST_URL="$rest"
export KRAKEN_API_KEY="$key" KRAKEN_API_SECRET="$secret" KRAKENWS_OUTPUT=text
say "From here on the environment leads there (KRAKENWS_PUBLIC_URL and so on); without it the same"
say "lines ask Kraken. By hand it is shorter: krakenws --sandbox ticker XBT/USD"

title "The original script's lines: live prices of three pairs"
run 0 'krakenws ticker XBT/USD ETH/EUR XDG/XBT --count 8'

title "An order book whose every change is proved by the exchange's checksum (✓)"
run 0 'krakenws book XBT/USD --count 6'
say "For programs, the same as JSON; each line says whether it can be trusted:"
run 0 "krakenws book XBT/USD --book top --count 2 -o json | grep verified | tail -n 1"

title "Several feeds in one run, one connection, one ordered output: +"
run 0 'krakenws trade XBT/USD + spread XBT/USD --count 8'

title "Trading: a token, two orders that wait, and what the exchange says is open"
run 0 'krakenws token'
printf '\n%s$ krakenws openOrders + ownTrades snapshot=false > account.txt &%s\n' "$bold" "$plain"
: >account.txt
krakenws openOrders + ownTrades snapshot=false >account.txt 2>&1 &
follower=$!
waited=0
until [ "$(grep -c subscribed account.txt)" -eq 2 ] || [ "$((waited += 1))" -gt 100 ]; do sleep 0.1; done
say "Another program follows the account meanwhile; what it saw is shown below."
run 0 'krakenws addOrder pair=XBT/USD type=buy ordertype=limit price=70000 volume=0.01 cl_ord_id=first'
run 0 'krakenws addOrder pair=ETH/EUR type=sell ordertype=limit price=2900 volume=1.5 cl_ord_id=second'
run 0 'krakenws openOrders --count 1'

title "The first fills once its price is past the market's; a market order sells that again"
run 0 'krakenws amendOrder cl_ord_id=first limit_price=99000'
run 0 'krakenws addOrder pair=XBT/USD type=sell ordertype=market volume=0.01'
run 0 'krakenws ownTrades --count 1'
run 0 'krakenws openOrders --count 1'

title "The rest is cancelled"
run 0 'krakenws cancelAll'
run 0 'krakenws openOrders --count 1'
kill "$follower" 2>/dev/null
wait "$follower" 2>/dev/null
follower=
say "What the other program saw of all this:"
run 0 'cat account.txt'

title "What cannot be is told in one sentence, with an exit code a script can act on"
run 5 'krakenws ticker DOG/CAT'
run 5 'krakenws addOrder pair=XBT/USD type=buy ordertype=market volume=100'
run 2 'krakenws addOrder pair=XBT/USD type=buy ordertype=limit price=70000 volume=0.00001'
run 2 'krakenws tikcer XBT/USD'
run 2 'krakenws book XBTUSD'

title "Is the exchange there?"
run 0 'krakenws ping'

title "The drop-in for the original script prints what the original prints"
unset KRAKENWS_OUTPUT
run 0 './krakenws.py ticker XBT/USD --count 1'

title "Frames kept today are a table tomorrow"
run 0 'krakenws trade XBT/USD --count 3 -o raw > trades.jsonl'
run 0 'krakenws decode trades.jsonl -o csv'

title "Next"
say "In another terminal: krakenws sandbox. Here: krakenws --sandbox ticker XBT/USD and the rest."
say "krakenws --help, krakenws addOrder --help, docs/tutorial.md, docs/sandbox.md"
exit "$failed"
