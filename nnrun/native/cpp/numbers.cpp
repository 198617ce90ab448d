// float32 numbers as text: the fewest digits that read back as the same float32, laid out as Python's repr.

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int most_characters = 24; // of a number and what follows it

// `digits` and the exponent of the first one, as Python writes a float: 0.0001, 12.0, 1e-05, 1.5e+16.
char* laid_out(const char* digits, int count, int exponent, char* out) {
    if (exponent < -4 || exponent >= 16) {
        *out++ = digits[0];
        if (count > 1) *out++ = '.';
        for (int i = 1; i < count; i++) *out++ = digits[i];
        *out++ = 'e';
        *out++ = exponent < 0 ? '-' : '+';
        const int size = exponent < 0 ? -exponent : exponent; // below 100
        *out++ = char('0' + size / 10);
        *out++ = char('0' + size % 10);
        return out;
    }
    if (exponent < 0) {
        *out++ = '0';
        *out++ = '.';
        for (int i = -1; i > exponent; i--) *out++ = '0';
        for (int i = 0; i < count; i++) *out++ = digits[i];
        return out;
    }
    for (int i = 0; i <= exponent; i++) *out++ = i < count ? digits[i] : '0';
    *out++ = '.';
    if (count <= exponent + 1) *out++ = '0';
    for (int i = exponent + 1; i < count; i++) *out++ = digits[i];
    return out;
}

char* number(float value, char* out) {
    if (!std::isfinite(value)) {
        const char* text = std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
        const size_t length = std::strlen(text);
        std::memcpy(out, text, length);
        return out + length;
    }
    char scientific[32]; // -1.2345678e-38
    const auto end = std::to_chars(scientific, scientific + sizeof scientific, value, std::chars_format::scientific);
    const char* from = scientific;
    if (*from == '-') *out++ = *from++;
    char digits[16];
    int count = 0;
    for (; *from != 'e'; from++)
        if (*from != '.') digits[count++] = *from;
    const bool negative = from[1] == '-';
    int exponent = 0;
    for (from += 2; from != end.ptr; from++) exponent = 10 * exponent + (*from - '0');
    return laid_out(digits, count, negative ? -exponent : exponent, out);
}

} // namespace

extern "C" {

// The bytes that `nnrun_numbers_rows` may need for each number.
int64_t nnrun_numbers_room() { return most_characters; }

// Rows of numbers (rows, columns) to lines, with commas between the numbers of a row; gives how many bytes.
int64_t nnrun_numbers_rows(const float* values, int64_t rows, int64_t columns, char* out) {
    char* p = out;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
            p = number(*values++, p);
            *p++ = column + 1 < columns ? ',' : '\n';
        }
    return p - out;
}
}
