// Has the n-th allocation that a call makes in the kernel fail, for n = 1, 2, 3 … until the call is over before the n-th.
//
// After Linux's Documentation/fault-injection/fault-injection.rst ("fail-nth"): a number that is written to
// /proc/thread-self/fail-nth counts the writing thread's allocations down; 0 is read once the failure has happened.
#ifndef FAILING_H
#define FAILING_H

#include "../t.h"

// A call that is tried again and again.
struct trial {
    const char *name;
    int also;       // an errno that it may fail with, beside ENOMEM and ENOBUFS
    long nth;       // the allocation that fails
    long failures;  // how often the call failed for it
    bool over;      // the call was over before the n-th allocation
};

static int nth_file = -1;
// How many calls were tried, and how many failures they were given.
static long trials, injected;

// Opened anew by each process and thread: the file is about the one that opens it.
static inline void open_nth(void) {
    nth_file = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
    NEED(nth_file >= 0);
}

static inline void arm(long nth) {
    char text[24];
    ssize_t written, length = snprintf(text, sizeof text, "%ld", nth);
    // Writing takes memory too: it may be what fails, once.
    do
        written = pwrite(nth_file, text, length, 0);
    while (written == -1 && errno == ENOMEM);
    NEED(written == length);
}

// Whether the failure has happened. Reading takes memory too: if that is what fails, nothing failed before.
static inline bool has_failed(void) {
    char text[24] = "";
    ssize_t length = pread(nth_file, text, sizeof text - 1, 0);
    if (length == -1 && errno == ENOMEM)
        return false;
    NEED(length > 0);
    return atol(text) == 0;
}

static inline struct trial trial(const char *name, int also) { return (struct trial){.name = name, .also = also}; }

static inline bool goes_on(struct trial *t) {
    // No call of these makes so many: the count goes wrong.
    NEED(t->nth < 5000);
    if (t->over) {
        trials++;
        return false;
    }
    t->nth++;
    return true;
}

// The call returned `result` with this errno.
static inline void judge(struct trial *t, long result, int error) {
    bool failed = has_failed();
    arm(0);
    t->over = !failed;
    injected += failed;
    if (result != -1)
        return;
    t->failures++;
    if (!failed || (error != ENOMEM && error != ENOBUFS && error != t->also)) {
        printf("FAILED %s, allocation %ld%s: %s\n", t->name, t->nth, failed ? "" : ", which did not fail", t_errno(error));
        t_failures++;
    }
}

// Tries `call`, an expression with the value -1 where it fails, each time after `before`; `after` may look at `result`, and
// takes away what the call left. `also`: another errno that is right.
#define TRY_ALSO(name, also, before, call, after)                                                                \
    for (struct trial t = trial(name, also); goes_on(&t);) {                                                     \
        before;                                                                                                  \
        arm(t.nth);                                                                                              \
        errno = 0;                                                                                               \
        long result = (long)(call);                                                                              \
        judge(&t, result, errno);                                                                                \
        after;                                                                                                   \
    }
#define TRY(name, before, call, after) TRY_ALSO(name, ENOMEM, before, call, after)

// Kilobytes of free memory.
static inline long free_memory(void) {
    char text[4096];
    int fd = open("/proc/meminfo", O_RDONLY);
    NEED(fd >= 0);
    ssize_t length = read(fd, text, sizeof text - 1);
    NEED(length > 0);
    close(fd);
    text[length] = 0;
    const char *line = strstr(text, "MemFree:");
    NEED(line);
    return atol(line + strlen("MemFree:"));
}

#endif
