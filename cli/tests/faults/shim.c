// shim: counts the system calls of a process that a file or its name depends on, and spoils one of them.
// Reads HEMAN_FAULT_AT (which call, from 1 on; 0 for none) and HEMAN_FAULT (an errno, or a signal as a negative number);
// with HEMAN_FAULT_COUNT writes how many there were to that file when the process ends.
// A signal is raised before the call, so that with all calls in turn every state between two of them is seen.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long at;
static int fault;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("HEMAN_FAULT_AT");
    at = text ? atol(text) : 0;
    text = getenv("HEMAN_FAULT");
    fault = text ? atoi(text) : 0;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("HEMAN_FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&calls));
        fclose(file);
    }
}

// Whether this call fails.
static int fails(void) {
    if (atomic_fetch_add(&calls, 1) + 1 != at) return 0;
    if (fault < 0) {
        kill(getpid(), -fault);
        return 0;
    }
    errno = fault;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SHIM(type, name, declared, given) \
    type name declared { return fails() ? (type)-1 : REAL(name) given; }

SHIM(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n))
SHIM(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
SHIM(ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n))
SHIM(int, fsync, (int fd), (fd))
SHIM(int, fdatasync, (int fd), (fd))
SHIM(int, ftruncate64, (int fd, off_t n), (fd, n))
SHIM(int, fchmod, (int fd, mode_t mode), (fd, mode))
SHIM(int, flock, (int fd, int how), (fd, how))
SHIM(int, rename, (const char *from, const char *to), (from, to))
SHIM(int, link, (const char *from, const char *to), (from, to))
SHIM(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags))
SHIM(int, unlink, (const char *path), (path))
SHIM(int, mkdir, (const char *path, mode_t mode), (path, mode))
SHIM(int, rmdir, (const char *path), (path))

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define SHIM_OPEN(name)                              \
    int name(const char *path, int flags, ...) {     \
        va_list more;                                \
        va_start(more, flags);                       \
        mode_t mode = mode_of(flags, more);          \
        va_end(more);                                \
        if (fails()) return -1;                      \
        return REAL(name)(path, flags, mode);        \
    }
SHIM_OPEN(open)
SHIM_OPEN(open64)

#define SHIM_OPENAT(name)                                    \
    int name(int folder, const char *path, int flags, ...) { \
        va_list more;                                        \
        va_start(more, flags);                               \
        mode_t mode = mode_of(flags, more);                  \
        va_end(more);                                        \
        if (fails()) return -1;                              \
        return REAL(name)(folder, path, flags, mode);        \
    }
SHIM_OPENAT(openat)
SHIM_OPENAT(openat64)
