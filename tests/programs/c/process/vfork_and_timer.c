// The parent sleeps until a child of vfork(2) has called exec or has ended: the child runs on its stack, so no handler of a
// timer may run there meanwhile. It runs afterwards. A signal that ends the parent ends it at once.
// machines: all
#include "t.h"
#include <sys/time.h>
#include <sys/wait.h>

static volatile sig_atomic_t in_child, caught_meanwhile, caught;

static void handler(int signal) {
    (void)signal;
    char stack[4096];
    memset(stack, 0xff, sizeof stack);
    __asm__ volatile("" : : "r"(stack) : "memory");
    caught = 1;
    caught_meanwhile |= in_child;
}

int main(void) {
    enum { ROUNDS = 50, STATUS = 3 };
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval every_300_us = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    NEED(setitimer(ITIMER_REAL, &every_300_us, NULL) == 0);
    int right_status = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            in_child = 1;
            struct timespec two_ms = {0, 2000000};
            syscall(SYS_nanosleep, &two_ms, NULL);
            if (i % 2)
                execl("/nonexistent", "nonexistent", (char *)NULL);
            in_child = 0;
            _exit(STATUS);
        }
        NEED(pid > 0);
        int status = 0;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        right_status += WIFEXITED(status) && WEXITSTATUS(status) == STATUS;
    }
    NEED(setitimer(ITIMER_REAL, &never, NULL) == 0);
    SHOW(right_status);
    SHOW(caught);
    SHOW(caught_meanwhile);

    int held[2];
    NEED(pipe(held) == 0);
    pid_t parent = fork();
    NEED(parent >= 0);
    if (parent == 0) {
        close(held[1]);
        if (vfork() == 0) {
            kill(getppid(), SIGTERM);
            char byte;
            syscall(SYS_read, held[0], &byte, 1);
            syscall(SYS_exit_group, 0);
        }
        _exit(1);
    }
    int status = 0;
    NEED(waitpid(parent, &status, 0) == parent);
    SHOW(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    close(held[1]);
    return 0;
}
