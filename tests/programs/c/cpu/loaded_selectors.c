// Segment registers that a program loads, with a null selector or that of its own data, change nothing but its own bases: not
// its system calls, page faults and signals, nor those of others, whatever comes first afterwards.
// link: static
// flags: -mno-red-zone
// machines: all
// arch: x86-64
#include "t.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { NULL_SELECTOR = 0, OTHER_NULL = 3, USER_DATA = 0x2b, ROUNDS = 100, THREADS = 3, TICKS = 50 };

static const int selectors[] = {NULL_SELECTOR, OTHER_NULL, USER_DATA};
enum { SELECTORS = sizeof selectors / sizeof *selectors };

#define LOAD(segment, selector) __asm__ volatile("mov %0, %%" #segment ::"r"(selector))

static volatile sig_atomic_t ticks;

static void on_tick(int signal) {
    (void)signal;
    ticks++;
}

// From one instruction, as a library makes it: on the way that a call takes for the first time, and on that of later ones.
static __attribute__((noinline)) long parent(void) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_getppid) : "rcx", "r11", "memory");
    return result;
}

static void *caller(void *expected) {
    long right = 0;
    for (int i = 0; i < ROUNDS; i++) {
        LOAD(gs, selectors[i % SELECTORS]);
        right += parent() == *(long *)expected;
        if (i % 10 == 0)
            sched_yield();
    }
    return (void *)right;
}

// The end of a process that has loaded GS and then does this.
static void show_end(const char *what, void (*then)(void)) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        LOAD(gs, NULL_SELECTOR);
        then();
        _exit(3);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    printf("%s: exited %d with %d, killed by %d\n", what, WIFEXITED(status), WEXITSTATUS(status),
           WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void invalid_instruction(void) { __asm__ volatile("ud2"); }
static void wild_read(void) { *(volatile int *)8; }
static void wild_jump(void) { ((void (*)(void))0x8000000000001234)(); }
static void breakpoint(void) { __asm__ volatile("int3"); }
static void nothing(void) {}

int main(void) {
    long expected = getppid(), right = 0;
    for (int i = 0; i < ROUNDS; i++) {
        LOAD(gs, selectors[i % SELECTORS]);
        LOAD(ds, selectors[i % SELECTORS]);
        LOAD(es, selectors[i % SELECTORS]);
        right += parent() == expected;
    }
    SHOW(right);

    char *pages = mmap(NULL, ROUNDS * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(pages != MAP_FAILED);
    for (int i = 0; i < ROUNDS; i++) {
        LOAD(gs, selectors[i % SELECTORS]);
        pages[i * 4096] = 1;
    }
    int touched = 0;
    for (int i = 0; i < ROUNDS; i++)
        touched += pages[i * 4096];
    SHOW(touched);

    // An interrupt comes first.
    struct sigaction tick = {.sa_handler = on_tick};
    NEED(sigaction(SIGALRM, &tick, NULL) == 0);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    NEED(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (ticks < TICKS)
        LOAD(gs, selectors[ticks % SELECTORS]);
    SHOW(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL));

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, caller, &expected) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        SHOW((long)result);
    }

    show_end("nothing", nothing);
    show_end("invalid instruction", invalid_instruction);
    show_end("wild read", wild_read);
    show_end("wild jump", wild_jump);
    show_end("breakpoint", breakpoint);

    // The base of FS is the program's, and is set again.
    long result, base;
    NEED(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0);
    __asm__ volatile("mov %3, %%fs\n\tsyscall"
                     : "=a"(result)
                     : "0"(SYS_arch_prctl), "D"(ARCH_SET_FS), "r"(NULL_SELECTOR), "S"(base)
                     : "rcx", "r11", "memory");
    SHOW(result);
    DONE();
}
