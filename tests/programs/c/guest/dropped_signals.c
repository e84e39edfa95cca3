// What Linux does since 6.13 and older ones don't: the signal of a timer that was deleted is not delivered. And since 6.9: a
// descriptor of a process that was waited for is hung up.
// machines: all
// linux: no
// stdout-has: deleted: EAGAIN, another timer: delivered
// stdout-has: ended 0x1, waited for 0x11
#include "t.h"
#include <poll.h>
#include <sys/wait.h>

static int waits(int signal) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, signal);
}

static void take(const char *whose, int signal) {
    sigset_t set;
    struct timespec zero = {0};
    sigemptyset(&set);
    sigaddset(&set, signal);
    printf("%s: %s", whose, sigtimedwait(&set, NULL, &zero) == signal ? "delivered" : t_errno(errno));
}

static timer_t expired_timer(int signal) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    struct itimerspec soon = {.it_value = {0, 1000}};
    timer_t timer;
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    NEED(timer_settime(timer, 0, &soon, NULL) == 0);
    WAIT_UNTIL(waits(signal));
    return timer;
}

int main(void) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    sigaddset(&blocked, SIGRTMIN + 1);
    NEED(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
    timer_t timer = expired_timer(SIGRTMIN);
    expired_timer(SIGRTMIN + 1);
    NEED(timer_delete(timer) == 0);
    take("deleted", SIGRTMIN);
    take(", another timer", SIGRTMIN + 1);
    puts("");

    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit(0);
    struct pollfd handle = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    NEED(poll(&handle, 1, -1) == 1);
    printf("ended %#x, ", handle.revents);
    NEED(waitpid(child, NULL, 0) == child);
    NEED(poll(&handle, 1, -1) == 1);
    printf("waited for %#x\n", handle.revents);
    DONE();
}
