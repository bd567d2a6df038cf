// Follows the best bid and ask of a pair from C++: krakenws as a child process, one JSON event a line.
//
//     c++ -std=c++17 -O2 -o popen popen.cpp && ./popen XBT/USD 20
//
// Prints quotes of the book that Kraken's checksum has proved, and says when there is none to rely on.
// Exit code: that of krakenws.

#include <stdio.h>     // getline, popen, pclose: POSIX
#include <stdlib.h>
#include <sys/wait.h>  // WIFEXITED, WEXITSTATUS

#include <iostream>
#include <string>
#include <string_view>

#include "json.hpp"

// Words go through a shell: take them only if they are what they should be.
static bool is_word(std::string_view text) {
    return !text.empty() && text.find_first_not_of(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/.") == std::string_view::npos;
}

static void heed(std::string_view line, const std::string& pair) {
    const json::Value event = json::Reader(line).value();
    const std::string& name = event["event"].text;
    if (name == "update" && event["trust"].text == "verified") {
        const json::Value& book = event["data"][0];  // with --book top: the best level of each side
        std::cout << pair << ' ' << book["bids"][0]["price"].text << ' ' << book["asks"][0]["price"].text
                  << std::endl;
    } else if (name == "gap" || name == "disconnected") {  // what was printed last is not the market any more
        std::cerr << "no quote until the next line: " << event["cause"].text << std::endl;
    }
}

int main(int argc, char** argv) {
    const std::string pair = argc > 1 ? argv[1] : "XBT/USD";
    const std::string frames = argc > 2 ? argv[2] : "20";
    if (!is_word(pair) || !is_word(frames)) {
        std::cerr << "usage: popen [PAIR [FRAMES]]" << std::endl;
        return 2;
    }
    const std::string command = "exec krakenws book " + pair + " --book top --output json --count " + frames;
    FILE* feed = popen(command.c_str(), "r");  // "exec": the shell is gone, and the exit code is krakenws's
    if (feed == nullptr) {
        perror("popen");
        return 1;
    }
    char* buffer = nullptr;
    size_t capacity = 0;
    try {
        for (ssize_t length; (length = getline(&buffer, &capacity, feed)) > 0;)
            heed({buffer, static_cast<size_t>(length)}, pair);
    } catch (const std::exception& error) {
        std::cerr << error.what() << ": " << buffer << std::endl;
    }
    free(buffer);
    const int status = pclose(feed);  // waits for krakenws, which ends when nobody reads
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    std::cerr << "krakenws was ended by signal " << WTERMSIG(status) << std::endl;
    return 128 + WTERMSIG(status);
}
