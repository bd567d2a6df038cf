#!/usr/bin/env bash
# Shows what krakenws does, against an exchange on this machine: no network, no account, about ten seconds.
# Run it with `make demo`, or by itself when krakenws is installed.
set -u

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d -t krakenws-demo.XXXXXX) || exit 1
server=
failed=0

end() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null
        wait "$server" 2>/dev/null
    fi
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

title "An exchange on this machine: invented markets, replayed over a real socket"
printf '\n%s$ krakenws replay demo --loop --speed 2 --listen 127.0.0.1:0 &%s\n' "$bold" "$plain"
mkfifo ready
krakenws replay demo --loop --speed 2 --listen 127.0.0.1:0 >ready 2>server.log &
server=$!
exec 3<ready
if ! read -r -t 20 line <&3; then
    echo "demo: the replay server did not start" >&2
    cat server.log >&2
    exit 1
fi
echo "$line"
url=${line##* }
export KRAKENWS_PUBLIC_URL="$url" KRAKENWS_PRIVATE_URL="$url/auth" KRAKENWS_OUTPUT=text
say "From here on KRAKENWS_PUBLIC_URL is $url; without it the same lines ask Kraken."

title "The original script's lines: live prices of three pairs"
run 0 'krakenws ticker XBT/USD ETH/EUR XDG/XBT --count 6'

title "An order book whose every change is proved by Kraken's checksum (✓)"
run 0 'krakenws book XBT/USD --count 6'
say "For programs, the same as JSON; each line says whether it can be trusted:"
run 0 "krakenws book XBT/USD --book top --count 2 -o json | tail -n 1"

title "Several feeds in one run, one connection, one ordered output: +"
run 0 'krakenws trade XBT/USD + spread XBT/USD --count 8'

title "Mistakes are told in one sentence, with an exit code a script can act on"
run 5 'krakenws ticker DOG/CAT'
run 2 'krakenws tikcer XBT/USD'
run 2 'krakenws book XBTUSD'
run 2 'krakenws ohlc XBT/USD 7'

title "Is the exchange there?"
run 0 'krakenws ping'

title "The drop-in for the original script prints what the original prints"
unset KRAKENWS_OUTPUT
run 0 './krakenws.py ticker XBT/USD --count 1'

title "Frames kept today are a table tomorrow"
run 0 'krakenws trade XBT/USD --count 3 -o raw > trades.jsonl'
run 0 'krakenws decode trades.jsonl -o csv'

title "Next"
say "krakenws --help, krakenws book --help, docs/tutorial.md"
exit "$failed"
