/* Faults in the system calls that change files: the n-th kills the process, or it and all that follow fail.

   Loaded with LD_PRELOAD; asleep until fault_arm() is called. Only regular files count, so that what goes to
   a terminal or a pipe does not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ASLEEP, COUNT, KILL_BEFORE, KILL_AMID, FAIL_FROM, FAIL_ONCE, KILL_IN_WRITE };

static int mode, target, code, calls;

void fault_arm(int new_mode, int at, int error) { mode = new_mode; target = at; code = error; calls = 0; }
int fault_calls(void) { return calls; }

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

/* 1: this call is the one. `grows`: whether a full disk would refuse it. */
static int due(int grows) {
    if (mode == ASLEEP || mode == KILL_IN_WRITE) return 0;
    int now = __sync_add_and_fetch(&calls, 1);
    switch (mode) {
    case KILL_BEFORE: if (now == target) die(); return 0;
    case KILL_AMID: return now == target;
    case FAIL_FROM: return grows && now >= target;
    case FAIL_ONCE: return grows && now == target;
    default: return 0;
    }
}

/* 1: this write is the one that is done by half. Only writes count. */
static int torn(void) { return mode == KILL_IN_WRITE && __sync_add_and_fetch(&calls, 1) == target; }

static int regular(int fd) {
    if (mode == ASLEEP) return 0;
    struct stat status;
    int before = errno;
    int is = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    errno = before;
    return is;
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
/* A call that is done or not: amid it is after it. */
#define WHOLE(grows, call) \
    if (due(grows)) { \
        if (mode == KILL_AMID) { (void)!(call); die(); } \
        errno = code; return -1; \
    } \
    return call

ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    if (regular(fd)) {
        if (torn()) { (void)!next(fd, data, size / 2); die(); }
        if (due(1)) {
            if (mode == KILL_AMID) { (void)!next(fd, data, size / 2); die(); }
            errno = code; return -1;
        }
    }
    return next(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    NEXT(pwrite64);
    if (regular(fd)) {
        if (torn()) { (void)!next(fd, data, size / 2, at); die(); }
        if (due(1)) {
            if (mode == KILL_AMID) { (void)!next(fd, data, size / 2, at); die(); }
            errno = code; return -1;
        }
    }
    return next(fd, data, size, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    NEXT(writev);
    if (!regular(fd)) return next(fd, parts, count);
    WHOLE(1, next(fd, parts, count));
}
int fsync(int fd) { NEXT(fsync); if (!regular(fd)) return next(fd); WHOLE(1, next(fd)); }
int fdatasync(int fd) { NEXT(fdatasync); if (!regular(fd)) return next(fd); WHOLE(1, next(fd)); }
int ftruncate64(int fd, off64_t size) {
    NEXT(ftruncate64); if (!regular(fd)) return next(fd, size); WHOLE(1, next(fd, size));
}
int rename(const char *from, const char *to) { NEXT(rename); WHOLE(0, next(from, to)); }
int renameat(int a, const char *from, int b, const char *to) {
    NEXT(renameat); WHOLE(0, next(a, from, b, to));
}
int mkdir(const char *path, mode_t rights) { NEXT(mkdir); WHOLE(1, next(path, rights)); }
int mkdirat(int at, const char *path, mode_t rights) { NEXT(mkdirat); WHOLE(1, next(at, path, rights)); }
int unlink(const char *path) { NEXT(unlink); WHOLE(0, next(path)); }
int unlinkat(int at, const char *path, int flags) { NEXT(unlinkat); WHOLE(0, next(at, path, flags)); }

#define RIGHTS(flags) \
    mode_t rights = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; va_start(rest, flags); rights = va_arg(rest, mode_t); va_end(rest); \
    }
int open64(const char *path, int flags, ...) {
    NEXT(open64); RIGHTS(flags)
    if (!(flags & O_CREAT)) return next(path, flags, rights);
    WHOLE(1, next(path, flags, rights));
}
int open(const char *path, int flags, ...) {
    NEXT(open); RIGHTS(flags)
    if (!(flags & O_CREAT)) return next(path, flags, rights);
    WHOLE(1, next(path, flags, rights));
}
int openat64(int at, const char *path, int flags, ...) {
    NEXT(openat64); RIGHTS(flags)
    if (!(flags & O_CREAT)) return next(at, path, flags, rights);
    WHOLE(1, next(at, path, flags, rights));
}
int openat(int at, const char *path, int flags, ...) {
    NEXT(openat); RIGHTS(flags)
    if (!(flags & O_CREAT)) return next(at, path, flags, rights);
    WHOLE(1, next(at, path, flags, rights));
}
