#!/usr/bin/env bash
# Follows the best bid and ask of a pair in a shell loop and says when the spread is wide.
#
#     examples/bash_loop.sh [PAIR [QUOTES]]
#
# Needs krakenws and jq. Ends after QUOTES quotes (20), or with Ctrl-C; the exit code is that of krakenws.
set -euo pipefail

pair=${1:-XBT/USD}
quotes=${2:-20}

krakenws spread "$pair" --count "$quotes" --output json |
    jq --unbuffered -r '
        if .event == "update" then
            .data[] | "quote \(.bid) \(.ask) \((.ask | tonumber) - (.bid | tonumber) > 0.5)"
        elif .event == "gap" or .event == "disconnected" then "gap \(.cause)"
        else empty end' |
    while read -r kind text; do
        case $kind in
            quote)
                read -r bid ask wide <<<"$text"
                printf '%s  %s  %s%s\n' "$pair" "$bid" "$ask" "$([ "$wide" = true ] && echo '  wide')"
                ;;
            gap) echo "quotes may be missing: $text" >&2 ;;
        esac
    done
