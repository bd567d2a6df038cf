#!/usr/bin/env bash
# Watches a price through one session and, once it moves, has an order checked over the same connections.
#
#     examples/session.sh [PAIR [VOLUME]] [-- OPTIONS OF krakenws session]
#
# Needs Bash 4, krakenws, jq, and an API key (or: -- --sandbox). The order is only validated, never placed.
# Exit code: 0 accepted, 5 refused, 6 unknown whether it stands, 4 the session is gone, or that of an error.
set -euo pipefail

pair=XBT/USD volume=0.01
if (($#)) && [[ $1 != -- ]]; then pair=$1 && shift; fi
if (($#)) && [[ $1 != -- ]]; then volume=$1 && shift; fi
if (($#)); then shift; fi

# One line an event, of six fields; none is empty, for read takes several tabs as one.
fields='[.event, .id // "-", .trust // "-", .data[0].bids[0].price? // "-",
    (if .outcome == "accepted" then 0 elif .outcome == "unknown" then 6 else .code // 5 end),
    (.result.descr // .error // .message // .hint // .cause // "-")] | @tsv'
coproc SESSION { krakenws session --quiet --book top "$@" | jq --unbuffered -r "$fields"; }
session=$SESSION_PID
exec 3<&"${SESSION[0]}" 4>&"${SESSION[1]}" # Bash takes its own away when the session ends

trap '' PIPE # a session that is gone shows as the end of its events
ask() { printf '%s\n' "${*//$'\n'/ }" >&4 2>/dev/null || true; } # a newline would begin another command

first='' ordered='' verdict=''
ask "book $pair 10 id=watch"
while IFS=$'\t' read -r -u 3 event id trust bid code text; do
    case $event in
        subscribed) echo "watching $pair" ;;
        gap | disconnected)
            first='' # what was seen before says nothing about now
            echo "no price until the next line: $text" >&2
            ;;
        update)
            [[ $trust == verified && -z $ordered ]] || continue
            first=${first:-$bid}
            [[ $bid != "$first" ]] || continue
            echo "bid moved from $first to $bid"
            ordered=yes
            ask "addOrder pair=$pair type=buy ordertype=limit price=$bid volume=$volume validate=true id=order"
            ;;
        reply | unanswered | refused | error)
            [[ $id != - || $event == error ]] || continue # a refusal without an id is news, and dealt with
            echo "$id: $text" >&$((code == 0 ? 1 : 2))
            verdict=$code
            ask quit
            ;;
    esac
done
wait "$session" || echo "the session ended with exit code $?" >&2
if [[ -z $verdict && $ordered ]]; then
    echo "unknown whether the order stands: krakenws reconcile tells" >&2
    verdict=6
fi
exit "${verdict:-4}"
