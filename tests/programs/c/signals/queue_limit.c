// RLIMIT_SIGPENDING bounds the signals that wait: a queued real-time signal and a timer are refused beyond it, kill(2) is
// not.
#include "t.h"
#include <sys/resource.h>

// Signals that wait for this user, by /proc.
static long waiting(void) {
    char line[256];
    long count = -1;
    FILE *status = fopen("/proc/self/status", "r");
    NEED(status != NULL);
    while (fgets(line, sizeof line, status))
        sscanf(line, "SigQ: %ld/", &count);
    fclose(status);
    return count;
}

static int queued(int signal) { return sigqueue(getpid(), signal, (union sigval){.sival_int = 5}); }

int main(void) {
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    long before = waiting();
    SHOW(before >= 0);
    struct rlimit limit = {before + 8, before + 8};
    SHOW(setrlimit(RLIMIT_SIGPENDING, &limit));
    int sent = 0;
    while (sent < 100 && queued(SIGRTMIN + 1) == 0)
        sent++;
    SHOW(errno == EAGAIN);
    SHOW(sent > 0 && sent <= 8);
    SHOW(waiting() - before == sent);
    // Without a value, the signal comes all the same.
    SHOW(kill(getpid(), SIGRTMIN + 2));
    SHOW(kill(getpid(), SIGUSR1));
    SHOW(queued(SIGUSR2));
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    siginfo_t info;
    struct timespec zero = {0};
    int received = 0, signal;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 1);
    while (sigtimedwait(&one, &info, &zero) > 0)
        received += info.si_value.sival_int == 5;
    SHOW(received == sent);
    while ((signal = sigtimedwait(&set, &info, &zero)) > 0)
        printf("%s: code %d, pid %s\n",
               signal == SIGUSR1   ? "SIGUSR1"
               : signal == SIGUSR2 ? "SIGUSR2"
                                   : "SIGRTMIN + 2",
               info.si_code, info.si_pid == getpid() ? "own" : info.si_pid == 0 ? "0" : "other");
    SHOW(waiting() == before);
    SHOW(timer_create(CLOCK_MONOTONIC, &event, &timer));
    SHOW(waiting() - before);
    SHOW(timer_delete(timer));
    SHOW(waiting() - before);
    DONE();
}
