// Masks: blocked signals wait; those of a handler's mask too; standard ones count once, real-time ones queue in order.
#include "t.h"

static int order[32], n;
static void note(int signal) { order[n++] = signal; }
static void nested(int signal) {
    order[n++] = signal;
    raise(SIGUSR2);
    order[n++] = -signal;
}

int main(void) {
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGUSR2, &action, NULL);
    for (int i = 0; i < 3; i++)
        sigaction(SIGRTMIN + i, &action, NULL);
    action.sa_handler = nested;
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    for (int i = 0; i < n; i++)
        printf("%s%s ", order[i] < 0 ? "end-" : "", abs(order[i]) == SIGUSR1 ? "usr1" : "usr2");
    putchar('\n');
    n = 0;
    sigset_t all, old, pending;
    sigfillset(&all);
    SHOW(sigprocmask(SIG_BLOCK, &all, &old));
    SHOW(sigisemptyset(&old));
    raise(SIGUSR2);
    raise(SIGUSR2);
    raise(SIGRTMIN + 2);
    raise(SIGRTMIN);
    raise(SIGRTMIN + 2);
    raise(SIGRTMIN + 1);
    SHOW(n);
    SHOW(sigpending(&pending));
    printf("%d %d %d\n", sigismember(&pending, SIGUSR2), sigismember(&pending, SIGRTMIN + 1), sigismember(&pending, SIGUSR1));
    SHOW(sigprocmask(SIG_SETMASK, &old, NULL));
    printf("%d:", n);
    for (int i = 0; i < n; i++)
        printf(" %d", order[i] == SIGUSR2 ? 0 : order[i] - SIGRTMIN + 1);
    putchar('\n');
    sigprocmask(SIG_BLOCK, &all, NULL);
    sigprocmask(SIG_BLOCK, NULL, &pending);
    SHOW(sigismember(&pending, SIGKILL));
    SHOW(sigprocmask(99, &all, NULL));
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN);
    SHOW(sigpending(&pending));
    SHOW(sigismember(&pending, SIGUSR2));
    DONE();
}
