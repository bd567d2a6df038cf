// A C++ program on a session that others share: krakenws session --listen unix:PATH, one JSON event a line.
//
//     krakenws session --listen unix:kraken.sock &
//     c++ -std=c++17 -O2 -o session session.cpp && ./session kraken.sock XBT/USD 5
//
// Prints so many quotes, then has an order checked at the last bid; validate=true places nothing.
// Exit code: 0 accepted, 5 refused, 6 unknown whether it stands, 4 the session is gone, 2 usage.

#include <cstdlib>
#include <iostream>

#include "session.hpp"

static int trade(Session& session, const std::string& pair, long left) {
    bool ordered = false;
    session.ask("spread " + pair + " id=quotes");
    for (json::Value event; session.next(event);) {
        const std::string& name = event["event"].text;
        const std::string& id = event["id"].text;
        if (name == "update" && !ordered) {
            const json::Value& quote = event["data"][0];
            std::cout << pair << ' ' << quote["bid"].text << ' ' << quote["ask"].text << std::endl;
            if (--left > 0) continue;
            session.ask("addOrder id=order pair=" + pair + " type=buy ordertype=limit price=" +
                        quote["bid"].text + " volume=0.01 validate=true");
            ordered = true;
        } else if (name == "gap" || name == "disconnected") {  // the last quote is not the market any more
            std::cerr << "no quote until the next line: " << event["cause"].text << std::endl;
        } else if (name == "reply" && id == "order") {
            const bool accepted = event["outcome"].text == "accepted";
            std::cout << event["outcome"].text << ": "
                      << (accepted ? event["result"]["descr"] : event["error"]).text << std::endl;
            return accepted ? 0 : 5;
        } else if (name == "unanswered") {
            std::cerr << "unknown whether the order stands: " << event["hint"].text << std::endl;
            return 6;
        } else if (name == "refused" && !id.empty()) {  // without an id it is news, and is dealt with
            std::cerr << "refused: " << event["error"].text << std::endl;
            return 5;
        } else if (name == "error") {  // nothing was sent
            std::cerr << event["message"].text << std::endl;
            return std::stoi(event["code"].text);
        }
    }
    std::cerr << "the session is gone" << (ordered ? "; krakenws reconcile says what became of the order" : "")
              << std::endl;
    return ordered ? 6 : 4;
}

int main(int argc, char** argv) {
    const std::string pair = argc > 2 ? argv[2] : "XBT/USD";
    const long quotes = argc > 3 ? std::strtol(argv[3], nullptr, 10) : 5;
    if (argc < 2 || quotes < 1) {
        std::cerr << "usage: session SOCKET [PAIR [QUOTES]]" << std::endl;
        return 2;
    }
    Session session(argv[1]);
    if (!session) {
        std::cerr << "no session at " << argv[1] << ": krakenws session --listen unix:" << argv[1] << std::endl;
        return 4;
    }
    try {
        return trade(session, pair, quotes);
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
}
