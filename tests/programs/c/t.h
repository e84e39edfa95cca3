// What every C test program shares: checks that name what failed, and calls shown with their result or errno.
//
// Output must be the same on every run and every machine: no addresses, no ids, no times, only relations between them.
#ifndef T_H
#define T_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

// What differs between architectures: an instruction that no CPU has, how long it is, the bytes of one that returns from a function, and
// what uname(2) calls the machine.
#if defined __aarch64__
#define UNDEFINED "udf #0"
#define UNDEFINED_LENGTH 4
#define RETURN "\xc0\x03\x5f\xd6"
#define MACHINE "aarch64"
#else
#define UNDEFINED "ud2"
#define UNDEFINED_LENGTH 2
#define RETURN "\xc3"
#define MACHINE "x86_64"
#endif

// The least stack that glibc's threads can have.
#if defined __aarch64__
#define LEAST_STACK (128 << 10)
#else
#define LEAST_STACK (16 << 10)
#endif

__attribute__((unused)) static int t_failures;

__attribute__((constructor)) static void t_init(void) { setvbuf(stdout, NULL, _IOLBF, 0); }

// The name of an errno value (musl has no strerrorname_np).
__attribute__((unused)) static const char *t_errno(int e) {
#define T_NAME(n) case n: return #n;
    switch (e) {
    T_NAME(EPERM) T_NAME(ENOENT) T_NAME(ESRCH) T_NAME(EINTR) T_NAME(EIO) T_NAME(ENXIO) T_NAME(E2BIG) T_NAME(ENOEXEC)
    T_NAME(EBADF) T_NAME(ECHILD) T_NAME(EAGAIN) T_NAME(ENOMEM) T_NAME(EACCES) T_NAME(EFAULT) T_NAME(EBUSY)
    T_NAME(EEXIST) T_NAME(EXDEV) T_NAME(ENODEV) T_NAME(ENOTDIR) T_NAME(EISDIR) T_NAME(EINVAL) T_NAME(ENFILE)
    T_NAME(EMFILE) T_NAME(ENOTTY) T_NAME(EFBIG) T_NAME(ENOSPC) T_NAME(ESPIPE) T_NAME(EROFS) T_NAME(EMLINK)
    T_NAME(EPIPE) T_NAME(EDOM) T_NAME(ERANGE) T_NAME(EDEADLK) T_NAME(ENAMETOOLONG) T_NAME(ENOSYS) T_NAME(ENOTEMPTY)
    T_NAME(ELOOP) T_NAME(ENOTSOCK) T_NAME(EDESTADDRREQ) T_NAME(EMSGSIZE) T_NAME(EPROTOTYPE) T_NAME(ENOPROTOOPT)
    T_NAME(EPROTONOSUPPORT) T_NAME(ESOCKTNOSUPPORT) T_NAME(EOPNOTSUPP) T_NAME(EAFNOSUPPORT) T_NAME(EADDRINUSE)
    T_NAME(EADDRNOTAVAIL) T_NAME(ENETUNREACH) T_NAME(ECONNABORTED) T_NAME(ECONNRESET) T_NAME(ENOBUFS) T_NAME(EISCONN)
    T_NAME(ENOTCONN) T_NAME(ESHUTDOWN) T_NAME(ETIMEDOUT) T_NAME(ECONNREFUSED) T_NAME(EHOSTUNREACH) T_NAME(EALREADY)
    T_NAME(EINPROGRESS) T_NAME(EOVERFLOW) T_NAME(EOWNERDEAD) T_NAME(ENOTRECOVERABLE) T_NAME(ENODATA) T_NAME(ETXTBSY)
    T_NAME(ECANCELED) T_NAME(ENOLCK) T_NAME(EIDRM) T_NAME(ENOMSG)
    }
    static __thread char unknown[16];
    snprintf(unknown, sizeof unknown, "errno %d", e);
    return unknown;
#undef T_NAME
}

// Says which condition does not hold, and makes the program fail.
#define CHECK(cond)                                                                                              \
    do {                                                                                                         \
        if (!(cond)) {                                                                                           \
            printf("FAILED %s:%d: %s (%s)\n", strrchr("/" __FILE__, '/') + 1, __LINE__, #cond,                   \
                   errno ? t_errno(errno) : "no errno");                                                         \
            t_failures++;                                                                                        \
        }                                                                                                        \
    } while (0)

// Prints a call (or any integer expression) with its value; with the name of errno where it is -1.
#define SHOW(expr)                                                                                               \
    do {                                                                                                         \
        errno = 0;                                                                                               \
        long t_value = (long)(expr);                                                                             \
        if (t_value == -1 && errno)                                                                              \
            printf("%s = -1 %s\n", #expr, t_errno(errno));                                                       \
        else                                                                                                     \
            printf("%s = %ld\n", #expr, t_value);                                                                \
    } while (0)

// The same for pthread functions, which return the error.
#define SHOW_ERROR(expr)                                                                                         \
    do {                                                                                                         \
        int t_error = (expr);                                                                                    \
        printf("%s = %s\n", #expr, t_error ? t_errno(t_error) : "0");                                            \
    } while (0)

// Ends the program when it cannot go on.
#define NEED(cond)                                                                                               \
    do {                                                                                                         \
        if (!(cond)) {                                                                                           \
            printf("FAILED %s:%d: %s (%s)\n", strrchr("/" __FILE__, '/') + 1, __LINE__, #cond, t_errno(errno));  \
            exit(99);                                                                                            \
        }                                                                                                        \
    } while (0)

// What main returns.
#define DONE() return t_failures ? 1 : 0

// Makes an empty directory of the program's own below $SCRATCH, or else /tmp, and goes there.
__attribute__((unused)) static void enter_scratch(void) {
    const char *above = getenv("SCRATCH");
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s/coracle-test-XXXXXX", above ? above : "/tmp");
    NEED(mkdtemp(name) != NULL);
    NEED(chdir(name) == 0);
}

// A path below the directory of files that came with the image.
__attribute__((unused)) static const char *data_file(const char *name) {
    static char path[PATH_MAX];
    const char *directory = getenv("DATA");
    NEED(directory != NULL);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

// Milliseconds of the monotonic clock.
__attribute__((unused)) static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((unused)) static void sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR) {
    }
}

// The state in a `stat` file of /proc: 'S' for a thread or a process that sleeps; 'X' if it is gone.
__attribute__((unused)) static char state_in(const char *path) {
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    char *end_of_name = strrchr(text, ')');
    return end_of_name ? end_of_name[2] : 'X';
}

// The state of a thread of this process.
__attribute__((unused)) static char thread_state(long tid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
    return state_in(path);
}

// The state of the first thread of a process.
__attribute__((unused)) static char process_state(long pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    return state_in(path);
}

// Waits for a condition that another thread brings about, for as long as a busy machine may take.
#define WAIT_UNTIL(cond)                                                                                         \
    do {                                                                                                         \
        for (int t_tries = 0; !(cond); t_tries++) {                                                              \
            NEED(t_tries < 100000);                                                                              \
            sleep_ms(1);                                                                                         \
        }                                                                                                        \
    } while (0)

// Waits until a thread or a process sleeps, and still does some looks later: it is in the call it was about to make.
#define WAIT_UNTIL_ASLEEP(state)                                                                                 \
    do {                                                                                                         \
        int t_in_a_row = 0;                                                                                      \
        WAIT_UNTIL((t_in_a_row = (state) == 'S' ? t_in_a_row + 1 : 0) == T_LOOKS);                               \
    } while (0)
enum { T_LOOKS = 8 };

// The same for a thread of this process.
__attribute__((unused)) static void wait_until_asleep(long tid) { WAIT_UNTIL_ASLEEP(thread_state(tid)); }

// Makes a file with this text.
__attribute__((unused)) static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    NEED(fd >= 0);
    NEED(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    NEED(close(fd) == 0);
}

// Prints a file's text in quotes, or why it can't be read.
__attribute__((unused)) static void show_file(const char *path) {
    char text[4096];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, t_errno(errno));
        return;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    printf("%s: \"%s\"\n", path, text);
    close(fd);
}

// A deterministic byte stream, to check large transfers.
__attribute__((unused)) static unsigned char pattern(size_t i) { return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16)); }

#endif
