// A small JSON reader for krakenws's lines: C++17 and nothing else. A program may well use its own instead.
// Numbers stay text, as written: a double would not keep every digit. What is missing reads as empty.
#pragma once
#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace json {
struct Value {
    std::string text;                // a string, a number, true or false; empty for null
    std::vector<std::string> names;  // of an object's members, in the order of `items`
    std::vector<Value> items;        // of an array or an object

    const Value& operator[](std::size_t at) const {
        static const Value nothing;
        return at < items.size() ? items[at] : nothing;
    }
    const Value& operator[](std::string_view name) const {
        const auto found = std::find(names.begin(), names.end(), name);
        return (*this)[found == names.end() ? items.size() : static_cast<std::size_t>(found - names.begin())];
    }
};

class Reader {
    const std::string text_;
    std::size_t at_ = 0;

    char any() { return at_ < text_.size() ? text_[at_++] : throw std::runtime_error("JSON ends too early"); }
    char next() { return text_[at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size())]; }
    char take(char wanted) { return next() == wanted ? any() : throw std::runtime_error("this is not JSON"); }
    unsigned unit() {  // of UTF-16: four digits
        const std::string digits{any(), any(), any(), any()};
        return static_cast<unsigned>(std::stoul(digits, nullptr, 16));
    }
    unsigned point() {  // one unit, or two for what is beyond 16 bits
        const unsigned high = unit();
        if (high >> 10 != 0x36) return high;
        return any(), any(), 0x10000 + ((high & 0x3FF) << 10) + (unit() & 0x3FF);
    }
    static std::string utf8(unsigned code, unsigned room = 0x80) {  // room: of the first byte
        if (code < room) return {static_cast<char>(~(2 * room - 1) | code)};
        return utf8(code >> 6, room == 0x80 ? 0x20 : room >> 1) + static_cast<char>(0x80 | (code & 0x3F));
    }
    std::string string() {
        std::string out;
        take('"');
        for (char c = any(); c != '"'; c = any()) {
            if (c != '\\') { out += c; continue; }
            const auto named = std::string_view("bfnrt").find(c = any());
            out += c == 'u' ? utf8(point()) : std::string(1, named < 5 ? "\b\f\n\r\t"[named] : c);
        }
        return out;
    }
public:
    explicit Reader(std::string_view text) : text_(text) {}
    Value value() {
        Value found;
        const char first = next();
        if (first == '"') {
            found.text = string();
        } else if (first == '{' || first == '[') {
            const char last = first == '{' ? '}' : ']';
            for (take(first); next() != last; next() == last ? last : take(',')) {
                if (first == '{') found.names.push_back(string()), take(':');
                found.items.push_back(value());
            }
            take(last);
        } else {
            const auto end = std::min(text_.find_first_of(",:]} \t\r\n\"", at_), text_.size());
            found.text = text_.substr(at_, end - at_), at_ = end;
            if (found.text.empty()) throw std::runtime_error("this is not JSON");
            if (found.text == "null") found.text.clear();
        }
        return found;
    }
};
}  // namespace json
