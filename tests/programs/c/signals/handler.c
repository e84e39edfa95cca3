// Handlers: signal and sigaction, the old action given back, SIG_IGN and SIG_DFL, what can't be caught.
#include "t.h"

static volatile int count, last;
static void handler(int signal) { count++, last = signal; }

int main(void) {
    struct sigaction action = {.sa_handler = handler}, old;
    SHOW(sigaction(SIGUSR1, &action, &old));
    SHOW(old.sa_handler == SIG_DFL);
    SHOW(raise(SIGUSR1));
    SHOW(count);
    SHOW(last == SIGUSR1);
    SHOW(kill(getpid(), SIGUSR1));
    SHOW(count);
    SHOW(sigaction(SIGUSR1, NULL, &old));
    SHOW(old.sa_handler == handler);
    SHOW(signal(SIGUSR1, SIG_IGN) == handler);
    SHOW(raise(SIGUSR1));
    SHOW(count);
    SHOW(raise(SIGCHLD));
    SHOW(raise(SIGURG));
    SHOW(raise(SIGWINCH));
    SHOW(raise(SIGCONT));
    SHOW(sigaction(SIGKILL, &action, NULL));
    SHOW(sigaction(SIGSTOP, &action, NULL));
    SHOW(sigaction(0, &action, NULL));
    SHOW(sigaction(99, &action, NULL));
    SHOW(kill(getpid(), 0));
    SHOW(kill(getpid(), 99));
    SHOW(kill(999999, 0));
    for (int s = 1; s <= 64; s++)
        if (s != SIGKILL && s != SIGSTOP && s != 32 && s != 33)
            CHECK(signal(s, handler) != SIG_ERR && raise(s) == 0 && last == s);
    SHOW(count);
    SHOW(syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 4L));
    DONE();
}
