// Rows of plain CSV to columns, in one pass: each row is counted, its numbers are read and its texts numbered.
//
// Plain is a block of whole lines, each a row of `width` fields. A field may be in quotes that hold neither quotes nor
// line ends. Whatever else there is (a row of another width, a blank one, a quote elsewhere, a carriage return
// that ends no line) stops the parser, which then says only that: the caller has another reader for it.
//
// Numbers are exactly those that pandas reads. A field that may be a number for pandas and is none for this parser
// (`inf`, 1e999, whole numbers of 16 digits) makes its column UNSURE, which the caller has pandas read.

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

typedef std::string_view Text;

// What the caller wants of a column, and what a column of NUMBERS turned out to be.
enum Wanted : int32_t { SKIPPED, NUMBERS, TEXTS };
enum Found : int32_t { WHOLE_NUMBERS, FRACTIONS, UNSURE, NO_NUMBERS };

struct Column {
    int32_t wanted;
    int32_t found;      // NUMBERS: what the column is, over all rows
    double* values;     // NUMBERS: (rows), NaN where one is missing
    int32_t* codes;     // TEXTS: (rows) numbers of different texts, as they first occur; -1 where one is missing
    uint32_t* starts;   // TEXTS: of each different text, where it first begins in the data; room for as many as rows
    uint32_t* lengths;  // TEXTS: its bytes
    int64_t different;  // TEXTS: how many there are
};

// Powers of ten that a double holds exactly.
constexpr double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                           1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int most_digits = 19;  // whose value a uint64_t always holds
constexpr int exact_digits = 15; // of whole numbers below 2^53

inline bool is_digit(char c) { return unsigned(c - '0') < 10; }
inline bool is_letter(char c) { return unsigned((c | 32) - 'a') < 26; }

// How a text stands to numbers: one of a column's Found, or text that pandas may take for a number or not.
enum Kind { WHOLE, FRACTION, CODE, TEXT, DOUBTFUL };

struct Number {
    Kind kind;        // WHOLE, FRACTION; CODE, as 007 or 5E3; or DOUBTFUL where it is none
    double value;
    const char* end;  // of the number, and blanks behind it
};

// The number that begins at `p`. What follows it is for the caller to look at; data end with a newline.
inline Number number_at(const char* p, char delimiter) {
    const Number none{DOUBTFUL, 0, p};
    const auto is_blank = [delimiter](char c) { return (c == ' ' || c == '\t') && c != delimiter; };
    while (is_blank(*p)) p++;
    const char* begin = p;
    const bool negative = *p == '-', sign = negative || *p == '+';
    p += sign;
    const char* first = p;
    uint64_t mantissa = 0;
    while (is_digit(*p)) mantissa = mantissa * 10 + uint64_t(*p++ - '0');
    const int64_t before = p - first;
    int64_t digits = before, exponent = 0;
    const bool point = *p == '.';
    if (point) {
        const char* fraction = ++p;
        while (is_digit(*p)) mantissa = mantissa * 10 + uint64_t(*p++ - '0');
        exponent = fraction - p;
        digits += p - fraction;
    }
    if (digits == 0) return none;
    const bool letter = *p == 'e' || *p == 'E';
    bool code = !sign && !point && !letter && before > 1 && *first == '0';
    if (letter) {
        const bool capital = *p++ == 'E', down = *p == '-', signed_ = down || *p == '+';
        p += signed_;
        const char* power = p;
        int64_t written = 0;
        while (is_digit(*p)) written = written < 100000 ? written * 10 + (*p - '0') : written, p++;
        if (p == power) return none;
        exponent += down ? -written : written;
        code = capital && !sign && !point && !signed_;
    }
    const char* stop = p;
    while (is_blank(*p)) p++;
    if (code) return {CODE, 0, p};
    const bool whole = !point && !letter;
    if (whole && before > exact_digits) return none;
    double value;
    if (digits <= most_digits && mantissa <= (uint64_t(1) << 53) && -22 <= exponent && exponent <= 22) {
        // Both numbers are exact, so that the one operation rounds as the nearest double does.
        value = exponent < 0 ? double(mantissa) / tens[-exponent] : double(mantissa) * tens[exponent];
        if (negative) value = -value;
    } else {
        const auto read = std::from_chars(*begin == '+' ? first : begin, stop, value);
        if (read.ec != std::errc() || read.ptr != stop) return none;
    }
    return {whole ? WHOLE : FRACTION, value, p};
}

// A text that is no number: whether pandas is sure to agree. No number has these letters and signs in these places.
inline Kind kind_of_text(Text text) {
    if (text.empty()) return DOUBTFUL;
    const char first = text[0] | 32;
    if (is_letter(text[0]) && first != 'i' && first != 'n') return TEXT;
    for (size_t at = 0; at < text.size(); at++) {
        const char c = text[at], lower = c | 32;
        if (is_letter(c) && !std::strchr("aefinty", lower)) return TEXT;
        if (c == ':' || c == '/') return TEXT;
        if (c == '-' && at > 0 && is_digit(text[at - 1])) return TEXT;
    }
    return DOUBTFUL;
}

// Whether a field makes a row of its line, which blanks alone do not. Letters that begin as Unicode's blanks do are left
// to the other reader.
inline bool has_content(Text text) {
    for (const char c : text) {
        const unsigned char byte = static_cast<unsigned char>(c);
        if (byte > ' ' && byte < 0x7f) return true;
        if (byte > 0xc2 && byte != 0xe1 && byte != 0xe2 && byte != 0xe3) return true;
    }
    return false;
}

// The texts for a missing value.
struct Missing {
    std::vector<Text> texts;
    size_t longest = 0;
    bool begins[256] = {};

    bool has(Text text) const {
        if (text.empty()) return true;
        if (text.size() > longest || !begins[static_cast<unsigned char>(text[0])]) return false;
        for (const Text& one : texts)
            if (one == text) return true;
        return false;
    }
};

// The different texts of a column, numbered as they come.
class Levels {
  public:
    explicit Levels(Column& column, const char* data) : column_(column), data_(data), slots_(64, -1) {}

    int32_t number_of(Text text) {
        // Texts often repeat that of the row before.
        if (last_ >= 0 && text == at(last_)) return last_;
        size_t slot = hash(text) & (slots_.size() - 1);
        while (slots_[slot] >= 0 && at(slots_[slot]) != text) slot = (slot + 1) & (slots_.size() - 1);
        if (slots_[slot] < 0) {
            column_.starts[column_.different] = uint32_t(text.data() - data_);
            column_.lengths[column_.different] = uint32_t(text.size());
            slots_[slot] = int32_t(column_.different++);
            last_ = slots_[slot];
            if (size_t(column_.different) * 2 > slots_.size()) grow();
            return last_;
        }
        return last_ = slots_[slot];
    }

  private:
    Text at(int32_t level) const { return {data_ + column_.starts[level], column_.lengths[level]}; }

    static size_t hash(Text text) {
        uint64_t sum = 14695981039346656037u;
        for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211u;
        return size_t(sum ^ (sum >> 29));
    }

    void grow() {
        slots_.assign(slots_.size() * 4, -1);
        for (int32_t level = 0; level < column_.different; level++) {
            size_t slot = hash(at(level)) & (slots_.size() - 1);
            while (slots_[slot] >= 0) slot = (slot + 1) & (slots_.size() - 1);
            slots_[slot] = level;
        }
    }

    Column& column_;
    const char* data_;
    std::vector<int32_t> slots_;
    int32_t last_ = -1;
};

class Parser {
  public:
    Parser(const char* data, const char* end, char delimiter, Column* columns, int64_t width, const Missing& missing)
        : p_(data), end_(end), delimiter_(delimiter), columns_(columns), width_(width), missing_(missing) {
        levels_.reserve(size_t(width));
        for (int64_t place = 0; place < width; place++) {
            columns[place].different = 0;
            columns[place].found = WHOLE_NUMBERS;
            levels_.emplace_back(columns[place], data);
        }
        gaps_.assign(size_t(width), 0);
    }

    // The next row; false where it is not plain.
    bool row(int64_t number) {
        bool content = false;
        for (int64_t place = 0; place < width_; place++) {
            if (!field(place, number, content)) return false;
            const bool last = place == width_ - 1;
            if (*p_ != (last ? '\n' : delimiter_)) return false;
            p_++;
        }
        return content;
    }

    bool at_end() const { return p_ >= end_; }
    const char* place() const { return p_; }

    // Columns of whole numbers with gaps hold fractions, as pandas has it: NaN is none.
    void finish(int64_t rows) {
        for (int64_t place = 0; place < width_; place++) {
            Column& column = columns_[place];
            if (column.wanted != NUMBERS || column.found != WHOLE_NUMBERS) continue;
            for (int64_t row = 0; row < rows; row++) column.values[row] += 0.0;  // -0 is the whole number 0
            if (gaps_[size_t(place)]) column.found = FRACTIONS;
        }
    }

  private:
    // One field, up to the delimiter or line end behind it; false where it is not plain.
    bool field(int64_t place, int64_t row, bool& content) {
        Column& column = columns_[place];
        const bool quoted = *p_ == '"';
        if (!quoted && column.wanted == NUMBERS && column.found < UNSURE) {
            const Number number = number_at(p_, delimiter_);
            if (number.kind <= CODE && ends(number.end)) {
                p_ = number.end;
                add(column, row, number);
                content = true;
                return to_line_end();
            }
        }
        Text text;
        if (!(quoted ? read_quoted(text) : read_bare(text))) return false;
        content = content || has_content(text);
        if (column.wanted == NUMBERS && column.found != NO_NUMBERS) add_text(place, row, text, quoted);
        else if (column.wanted == TEXTS)
            column.codes[row] = missing_.has(text) ? -1 : levels_[size_t(place)].number_of(text);
        return to_line_end();
    }

    bool ends(const char* p) const { return *p == delimiter_ || *p == '\n' || (*p == '\r' && p[1] == '\n'); }

    bool to_line_end() {
        if (*p_ == '\r') p_++;  // a newline follows: `ends`
        return true;
    }

    bool read_bare(Text& text) {
        const char* begin = p_;
        while (*p_ != delimiter_ && *p_ != '\n' && *p_ != '\r' && *p_ != '"') p_++;
        text = {begin, size_t(p_ - begin)};
        return ends(p_);
    }

    bool read_quoted(Text& text) {
        const char* begin = ++p_;
        while (*p_ != '"' && *p_ != '\n' && *p_ != '\r') p_++;
        if (*p_ != '"') return false;
        text = {begin, size_t(p_ - begin)};
        return ends(++p_);
    }

    void add(Column& column, int64_t row, const Number& number) {
        column.values[row] = number.value;
        if (number.kind == CODE) column.found = NO_NUMBERS;
        else if (number.kind == FRACTION && column.found == WHOLE_NUMBERS) column.found = FRACTIONS;
    }

    // What is no number in a column of numbers: nothing, the end of that, or a number in quotes.
    void add_text(int64_t place, int64_t row, Text text, bool quoted) {
        Column& column = columns_[place];
        if (missing_.has(text)) {
            column.values[row] = __builtin_nan("");
            gaps_[size_t(place)] = 1;
            return;
        }
        if (quoted) {
            const Number number = number_at(text.data(), delimiter_);
            if (number.kind <= CODE && number.end == text.data() + text.size()) {
                if (column.found != UNSURE || number.kind == CODE) add(column, row, number);
                return;
            }
        }
        column.found = kind_of_text(text) == TEXT ? NO_NUMBERS : UNSURE;
    }

    const char* p_;
    const char* end_;
    const char delimiter_;
    Column* columns_;
    const int64_t width_;
    const Missing& missing_;
    std::vector<Levels> levels_;
    std::vector<char> gaps_;
};

}  // namespace

// Rows from the beginning of `data`, at most `most_rows`, into columns.
//
// data: `size` bytes below 4 GB, which end with a newline. missing: texts one after the other, `n_missing`
// of them, with their lengths. rows: how many were read. Returns the bytes that they take; -1 where one is not plain.
extern "C" int64_t nnrun_csv_rows(const char* data, int64_t size, char delimiter, Column* columns, int64_t width,
                                  const char* missing, const int64_t* missing_lengths, int64_t n_missing,
                                  int64_t most_rows, int64_t* rows) {
    Missing words;
    for (int64_t i = 0; i < n_missing; missing += missing_lengths[i++]) {
        const Text word(missing, size_t(missing_lengths[i]));
        if (word.empty()) continue;
        words.texts.push_back(word);
        words.begins[static_cast<unsigned char>(word[0])] = true;
        if (word.size() > words.longest) words.longest = word.size();
    }
    Parser parser(data, data + size, delimiter, columns, width, words);
    int64_t row = 0;
    for (; row < most_rows && !parser.at_end(); row++)
        if (!parser.row(row)) return -1;
    parser.finish(row);
    *rows = row;
    return parser.place() - data;
}
