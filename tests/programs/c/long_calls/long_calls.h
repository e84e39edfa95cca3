// What the tests of long system calls share. A call that takes long must neither keep its CPU from others nor outlive
// SIGKILL; both are shown by relations that hold on a machine of any speed and load.
#ifndef LONG_CALLS_H
#define LONG_CALLS_H
#include "t.h"
#include <sys/wait.h>

enum {
    MB = 1 << 20,
    // So many sleeps of another process end within one call. One may seem to where the CPU is taken from the caller right
    // before and right after the call.
    SLEEPS = 2,
    // A few of them end within the shortest of the calls on a fast machine.
    SLEEP_NS = 200000,
    // A call is made again where a busy machine let it end too soon.
    ATTEMPTS = 500,
};

// What caller and watcher share: how many calls have begun and ended together, which is odd during a call.
static volatile unsigned *calls;

// Memory that parent and child share, of zeroes.
__attribute__((unused)) static void *shared_memory(size_t len) {
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(memory != MAP_FAILED);
    return memory;
}

__attribute__((unused)) static void *private_memory(size_t len) {
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(memory != MAP_FAILED);
    NEED(madvise(memory, len, MADV_NOHUGEPAGE) == 0);
    return memory;
}

// A child that makes the call again and again, with what `prepare` does before each (NULL: nothing).
__attribute__((unused)) static pid_t caller(void (*prepare)(void), void (*call)(void)) {
    if (!calls)
        calls = shared_memory(4096);
    *calls = 0;
    pid_t child = fork();
    NEED(child >= 0);
    while (child == 0) {
        if (prepare)
            prepare();
        ++*calls;
        call();
        ++*calls;
    }
    return child;
}

// Kills it: it dies of that.
__attribute__((unused)) static void end_caller(pid_t child) {
    int status = 0;
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// Whether several sleeps of this process end within one of the calls.
__attribute__((unused)) static bool others_run(void (*prepare)(void), void (*call)(void)) {
    pid_t child = caller(prepare, call);
    unsigned seen = 0;
    for (int sleeps = 0; sleeps < SLEEPS && *calls < 2 * ATTEMPTS; sleeps++) {
        unsigned now = *calls;
        if (now != seen || now % 2 == 0)
            sleeps = -1;
        seen = now;
        nanosleep(&(struct timespec){0, SLEEP_NS}, NULL);
    }
    bool run = *calls < 2 * ATTEMPTS;
    end_caller(child);
    return run;
}

// Whether SIGKILL ends the call before it has written to `*last`, which it does at its end.
__attribute__((unused)) static bool is_cut(void (*prepare)(void), void (*call)(void), volatile char *last) {
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *last = 'x';
        pid_t child = caller(prepare, call);
        WAIT_UNTIL(*calls % 2 == 1);
        end_caller(child);
        if (*calls == 1 && *last == 'x')
            return true;
    }
    return false;
}

__attribute__((unused)) static void show(const char *name, bool holds, const char *what) {
    printf("%s %s: %s\n", name, what, holds ? "yes" : "no");
    t_failures += !holds;
}
#endif
