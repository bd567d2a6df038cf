// A C++ program on a session that others share: krakenws session --listen unix:PATH, one JSON event a line.
//
//     krakenws session --listen unix:kraken.sock &
//     c++ -std=c++17 -O2 -o session session.cpp && ./session kraken.sock XBT/USD 5
//
// Prints so many quotes, then has an order checked. A real program would use its JSON library for `field`.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

// The text of the first "name":"…" in a line; krakenws writes no spaces around the colon.
static std::string_view field(std::string_view line, const std::string& name) {
    const std::string key = "\"" + name + "\":\"";
    const auto at = line.find(key);
    if (at == std::string_view::npos) return {};
    const auto begin = at + key.size();
    return line.substr(begin, line.find('"', begin) - begin);
}

class Session {
public:
    explicit Session(const char* path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        ok_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~Session() { close(fd_); }
    explicit operator bool() const { return ok_; }
    bool ask(std::string line) {
        line += '\n';
        return write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    }
    bool read_line(std::string& line) {
        std::size_t end;
        while ((end = buffer_.find('\n')) == std::string::npos) {
            char data[1 << 16];
            const auto count = read(fd_, data, sizeof data);
            if (count <= 0) return false;
            buffer_.append(data, static_cast<std::size_t>(count));
        }
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
    }

private:
    int fd_;
    bool ok_;
    std::string buffer_;
};

int main(int argc, char** argv) {
    if (argc < 4) return 2;
    Session session(argv[1]);
    const std::string pair = argv[2];
    auto left = std::stoi(argv[3]);
    if (!session || !session.ask("spread " + pair + " id=quotes")) return 1;
    for (std::string line; session.read_line(line);) {
        const auto event = field(line, "event");
        if (event == "update" && left > 0) {  // prices stay text: a double would not keep Kraken's digits
            std::cout << pair << ' ' << field(line, "bid") << ' ' << field(line, "ask") << std::endl;
            if (--left == 0)
                session.ask("addOrder id=order pair=" + pair +
                            " type=buy ordertype=market volume=0.01 validate=true");
        } else if (field(line, "id") == "order") {
            std::cout << event << ' ' << field(line, event == "reply" ? "outcome" : "message") << std::endl;
            return field(line, "outcome") == "accepted" ? 0 : 1;
        } else if (event == "refused" || event == "error") {
            break;
        }
    }
    return 1;
}
