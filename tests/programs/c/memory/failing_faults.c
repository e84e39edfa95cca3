// The n-th allocation fails in what a program does without a call: signals that come, pages that are touched for the first
// time, crashes. Handlers run with the floating-point state as it was, and a crash is a crash.
// link: static
// memory: 128M
// fail-alloc: 0
// linux: no
// machines: all
// stdout-has: nothing else happens
#include "failing.h"
#include <sys/wait.h>

#define PAGE 4096

static volatile sig_atomic_t handled;
static volatile double computed;

static void handle(int signal, siginfo_t *information, void *context) {
    (void)context;
    // Other values in the registers of the FPU.
    computed = information->si_signo * 1.5 + signal;
    handled++;
}

// Raises a signal while values are in vector registers; 0 if they are there afterwards.
static long raise_with_state(int signal) {
#ifdef __aarch64__
    const long pid = getpid();
    register double a asm("d9") = 1.25, b asm("d21") = -8.5;
    register long result asm("x0") = pid, number asm("x8") = SYS_kill, which asm("x1") = signal;
    asm volatile("svc #0" : "+r"(result), "+w"(a), "+w"(b) : "r"(number), "r"(which) : "memory");
    asm volatile("" : "+w"(a), "+w"(b));
#else
    register double a asm("xmm5") = 1.25, b asm("xmm9") = -8.5;
    asm volatile("" : "+x"(a), "+x"(b));
    long pid = getpid(), result = SYS_kill;
    asm volatile("syscall" : "+a"(result), "+x"(a), "+x"(b) : "D"(pid), "S"((long)signal) : "rcx", "r11", "memory");
    asm volatile("" : "+x"(a), "+x"(b));
#endif
    errno = -result;
    return result == 0 && a == 1.25 && b == -8.5 ? 0 : -1;
}

static void signals(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    long came = 0;
    handled = 0;
    TRY("a signal", , raise_with_state(SIGUSR1), came += result == 0);
    CHECK(came > 0 && handled == came);
    // On pages that are not there yet.
    handled = came = 0;
    stack_t stack = {.ss_size = 16 * PAGE};
    TRY("a signal on a fresh stack",
        {
            stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            NEED(sigaltstack(&stack, NULL) == 0);
        },
        raise_with_state(SIGUSR1), {
            came += result == 0;
            munmap(stack.ss_sp, stack.ss_size);
        });
    CHECK(came > 0 && handled == came);
}

// A child that crashes does not say whether its n-th allocation failed: the report of a crash makes fewer.
enum { ENOUGH = 60 };

// Runs `work` in a child in which the n-th allocation fails, for every n; `is_right` judges its status.
static void try_in_child(const char *name, void (*work)(void), bool (*is_right)(int status)) {
    for (long nth = 1;; nth++) {
        int done[2];
        NEED(pipe(done) == 0);
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            open_nth();
            arm(nth);
            work();
            bool failed = has_failed();
            arm(0);
            NEED(write(done[1], &failed, 1) == 1);
            _exit(0);
        }
        close(done[1]);
        bool failed = true;
        ssize_t told = read(done[0], &failed, 1);
        close(done[0]);
        int status;
        NEED(waitpid(pid, &status, 0) == pid);
        if (!is_right(status)) {
            printf("FAILED %s, allocation %ld: status %#x\n", name, nth, status);
            t_failures++;
        }
        injected++;
        if ((told == 1 && !failed) || nth == ENOUGH)
            return;
    }
}

static int file;

static void touch_private(void) {
    char *map = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int page = 0; map != MAP_FAILED && page < 64; page++)
        map[page * PAGE] = 1;
}

static void touch_file(void) {
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    for (int page = 0; map != MAP_FAILED && page < 8; page++)
        map[page * PAGE] = 1;
}

static void touch_shared(void) {
    char *map = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int page = 0; map != MAP_FAILED && page < 8; page++)
        map[page * PAGE] = 1;
}

static void crash(void) { *(volatile int *)8 = 1; }

// As on Linux, where a page that there is no memory for ends the program by the OOM killer.
static bool goes_on_or_is_killed(int status) { return status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); }
static bool is_crash(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV; }

int main(void) {
    open_nth();
    signals();
    file = syscall(SYS_memfd_create, "pages", 0);
    NEED(file >= 0 && ftruncate(file, 8 * PAGE) == 0);
    try_in_child("touching private pages", touch_private, goes_on_or_is_killed);
    try_in_child("touching pages of a file", touch_file, goes_on_or_is_killed);
    try_in_child("touching shared pages", touch_shared, goes_on_or_is_killed);
    try_in_child("a crash", crash, is_crash);
    CHECK(injected > 0);
    if (t_failures == 0)
        printf("nothing else happens\n");
    DONE();
}
