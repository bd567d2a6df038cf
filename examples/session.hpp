// A session that others share, over its Unix socket: lines out, events in. C++17, POSIX.
#pragma once
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>

#include "json.hpp"

#ifndef MSG_NOSIGNAL  // macOS has it as an option of the socket
#define MSG_NOSIGNAL 0
#endif

class Session {
public:
    explicit Session(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        fcntl(fd_, F_SETFD, FD_CLOEXEC);  // not for the processes that this one may start
#ifdef SO_NOSIGPIPE
        const int on = 1;
        setsockopt(fd_, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) return;  // some hundred bytes; a part would be another path
        path.copy(address.sun_path, path.size());
        connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { close(fd_); }
    explicit operator bool() const { return connected_; }

    // Writes one command. If the session is gone, `next` says so.
    void ask(std::string line) {
        if (line.find('\n') != line.npos) throw std::invalid_argument("a newline would begin another command");
        line += '\n';
        for (std::size_t at = 0; at < line.size();) {
            const auto count = send(fd_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
            if (count < 0 && errno != EINTR) return;
            if (count > 0) at += static_cast<std::size_t>(count);
        }
    }

    // Reads the next event; false at the end. Bytes come in any pieces: an event ends with its newline.
    bool next(json::Value& event) {
        std::size_t end;
        while ((end = buffer_.find('\n')) == std::string::npos) {
            char data[1 << 16];
            const auto count = recv(fd_, data, sizeof data, 0);
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) return false;
            buffer_.append(data, static_cast<std::size_t>(count));
        }
        event = json::Reader(buffer_.substr(0, end)).value();
        buffer_.erase(0, end + 1);
        return true;
    }

private:
    int fd_;
    bool connected_ = false;
    std::string buffer_;
};
