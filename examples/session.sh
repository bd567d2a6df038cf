#!/usr/bin/env bash
# Watches a price through one session and, once it moves, has an order checked over the same connections.
#
#     examples/session.sh [PAIR [VOLUME]] [-- OPTIONS OF krakenws session]
#
# Needs krakenws, jq, and an API key (or: -- --sandbox). The order is only validated, never placed.
set -euo pipefail

pair=XBT/USD volume=0.01
if (($#)) && [[ $1 != -- ]]; then pair=$1 && shift; fi
if (($#)) && [[ $1 != -- ]]; then volume=$1 && shift; fi
if (($#)); then shift; fi

# One line an event: its name, the id of the line it answers, its words, the bid of a spread.
events='[.event, .id // "-", (.result.descr // .error // .message // .hint // .cause // "-"),
         (.data[0].bid? // "-")] | @tsv'
coproc SESSION { krakenws session --quiet "$@" | jq --unbuffered -r "$events"; }
session=$SESSION_PID  # gone from the variable once it ends
exec 4>&"${SESSION[1]}"

ask() { printf '%s\n' "$*" >&4; }

ask "spread $pair id=watch"
first=''
while IFS=$'\t' read -r event id text bid; do
    case $event in
        subscribed) echo "watching $pair" ;;
        update)
            first=${first:-$bid}
            if [[ $bid != "$first" && $first != done ]]; then
                echo "bid moved from $first to $bid"
                first='done'
                ask "addOrder pair=$pair type=buy ordertype=limit price=$bid volume=$volume validate=true id=order"
            fi
            ;;
        reply)
            echo "$id: $text"
            ask quit
            ;;
        error | refused | unanswered)
            echo "$id: $event: $text" >&2
            ask quit
            ;;
        gap | disconnected) echo "quotes may be missing: $text" >&2 ;;
    esac
done <&"${SESSION[0]}"
wait "$session"
