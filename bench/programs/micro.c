/*
 * micro.c: what one operating-system service costs. Runs each test once (or the one named), prints "micro NAME OPERATIONS", and calls
 * bench_mark() before and after the operations; the counting plugin logs every arrival there.
 * main() itself is marked too: it tells what starting a small static program took.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Not inlined, and not empty, so that every call is a jump to this address. */
__attribute__((noinline)) void bench_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void finish(const char *name, unsigned long operations)
{
    bench_mark();
    printf("micro %s %lu\n", name, operations);
    fflush(stdout);
}

static void null_call(void)
{
    enum { N = 100000 };
    bench_mark();
    for (int i = 0; i < N; i++) {
        syscall(SYS_getppid);
    }
    finish("null-syscall", N);
}

static int ping[2], pong[2];

static void *ponger(void *argument)
{
    char byte;
    (void)argument;
    while (read(ping[0], &byte, 1) == 1) {
        if (write(pong[1], &byte, 1) != 1) {
            fail("write");
        }
    }
    return NULL;
}

/* Two threads hand a byte to each other: an operation is one hand-over (a write, a switch, a read). */
static void context_switch(void)
{
    enum { N = 10000 };
    pthread_t thread;
    char byte = 'x';
    if (pipe(ping) || pipe(pong) || pthread_create(&thread, NULL, ponger, NULL)) {
        fail("context switch");
    }
    bench_mark();
    for (int i = 0; i < N; i++) {
        if (write(ping[1], &byte, 1) != 1 || read(pong[0], &byte, 1) != 1) {
            fail("hand-over");
        }
    }
    finish("context-switch", 2 * N);
    close(ping[1]);
    pthread_join(thread, NULL);
}

static void page_fault(void)
{
    enum { N = 1024, PAGE = 4096 };
    char *memory = mmap(NULL, (size_t)N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    madvise(memory, (size_t)N * PAGE, MADV_NOHUGEPAGE);
    bench_mark();
    for (size_t i = 0; i < N; i++) {
        ((volatile char *)memory)[i * PAGE] = 1;
    }
    finish("page-fault", N);
    munmap(memory, (size_t)N * PAGE);
}

static void *nothing(void *argument)
{
    return argument;
}

static void thread_creation(void)
{
    enum { N = 1000 };
    bench_mark();
    for (int i = 0; i < N; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL)) {
            fail("thread");
        }
    }
    finish("thread", N);
}

/* Arms and disarms one timer while `others` are armed. */
static void timers(const char *name, int others)
{
    enum { N = 10000 };
    int *descriptors = calloc((size_t)others + 1, sizeof *descriptors);
    struct itimerspec when = {.it_value = {.tv_sec = 3600}};
    for (int i = 0; i <= others; i++) {
        descriptors[i] = timerfd_create(CLOCK_MONOTONIC, 0);
        when.it_value.tv_nsec = i * 1000;
        if (descriptors[i] < 0 || timerfd_settime(descriptors[i], 0, &when, NULL)) {
            fail("timerfd");
        }
    }
    bench_mark();
    for (int i = 0; i < N; i++) {
        when.it_value.tv_sec = 1800 + i % 100;
        if (timerfd_settime(descriptors[0], 0, &when, NULL)) {
            fail("timerfd_settime");
        }
    }
    finish(name, N);
    for (int i = 0; i <= others; i++) {
        close(descriptors[i]);
    }
    free(descriptors);
}

static void timer_of_1(void)
{
    timers("timer-of-1", 0);
}

static void timer_of_1000(void)
{
    timers("timer-of-1000", 1000);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"null-syscall", null_call},   {"context-switch", context_switch}, {"page-fault", page_fault},
    {"thread", thread_creation},   {"timer-of-1", timer_of_1},         {"timer-of-1000", timer_of_1000},
};

/* Runs every test, or the one that is named. */
int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (argc < 2 || strcmp(argv[1], tests[i].name) == 0) {
            tests[i].run();
        }
    }
    return 0;
}
