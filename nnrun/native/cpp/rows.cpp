// Rows of a file, read where they are: a map of the file would cost a page fault for each.

#include <cerrno>
#include <cstdint>
#include <unistd.h>

extern "C" {

// Rows of `size` bytes, the first of which begins at byte `begin`, into `out` (count, size). Gives 0; the errno of a
// read that failed; or -1 where the file ends before them.
int64_t nnrun_rows_read(int32_t file, int64_t begin, int64_t size, const int64_t* rows, int64_t count, char* out) {
    for (int64_t first = 0, next; first < count; first = next) {
        for (next = first + 1; next < count && rows[next] == rows[next - 1] + 1;) next++;
        int64_t left = (next - first) * size, at = begin + rows[first] * size;
        char* to = out + first * size;
        while (left > 0) {
            const ssize_t read = pread(file, to, static_cast<size_t>(left), at);
            if (read < 0 && errno == EINTR) continue;
            if (read < 0) return errno;
            if (read == 0) return -1;
            left -= read, at += read, to += read;
        }
    }
    return 0;
}
}
