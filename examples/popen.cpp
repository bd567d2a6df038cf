// Follows the best bid and ask of a pair from C++: krakenws as a child process, one JSON event a line.
//
//     c++ -std=c++17 -O2 -o popen popen.cpp && ./popen XBT/USD 20
//
// Exit code: that of krakenws. A real program would use its JSON library where `field` is.

#include <stdio.h>     // getline, popen, pclose: POSIX
#include <stdlib.h>
#include <sys/wait.h>  // WIFEXITED, WEXITSTATUS

#include <iostream>
#include <string>
#include <string_view>

// The text value of the first "name":"…" in a line; krakenws writes no spaces around the colon.
static std::string_view field(std::string_view line, const std::string& name) {
    const std::string key = "\"" + name + "\":\"";
    const auto at = line.find(key);
    if (at == std::string_view::npos) return {};
    const auto begin = at + key.size();
    return line.substr(begin, line.find('"', begin) - begin);
}

// Words go through a shell: take them only if they are what they should be.
static bool is_word(std::string_view text) {
    return !text.empty() && text.find_first_not_of(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/.") == std::string_view::npos;
}

int main(int argc, char** argv) {
    const std::string pair = argc > 1 ? argv[1] : "XBT/USD";
    const std::string quotes = argc > 2 ? argv[2] : "20";
    if (!is_word(pair) || !is_word(quotes)) return 2;

    FILE* feed = popen(("krakenws spread " + pair + " --output json --count " + quotes).c_str(), "r");
    if (feed == nullptr) return 1;

    char* buffer = nullptr;
    size_t capacity = 0;
    for (ssize_t length; (length = getline(&buffer, &capacity, feed)) > 0;) {
        const std::string_view line(buffer, static_cast<size_t>(length));
        const auto event = field(line, "event");
        if (event == "update") {
            // Prices stay text: a double would not keep Kraken's digits.
            std::cout << pair << ' ' << field(line, "bid") << ' ' << field(line, "ask") << std::endl;
        } else if (event == "gap" || event == "disconnected") {
            std::cerr << "quotes may be missing: " << field(line, "cause") << std::endl;
        }
    }
    free(buffer);
    const int status = pclose(feed);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
