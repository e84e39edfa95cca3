// A signal of a process that its taker blocks before it has looked at it, as while another handler runs, is left to a thread that does
// not block it.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

enum { ROUNDS = 20 };

static volatile sig_atomic_t first, second;

static void on_second(int signal) {
    (void)signal;
    second = 1;
}

// Blocks the second signal until another thread has taken that.
static void on_first(int signal) {
    (void)signal;
    first = 1;
    WAIT_UNTIL(second);
}

static void *other(void *unused) {
    for (;;)
        pause();
    return unused;
}

static void child(void) {
    struct sigaction action = {.sa_handler = on_second};
    NEED(sigaction(SIGUSR2, &action, NULL) == 0);
    action.sa_handler = on_first;
    sigaddset(&action.sa_mask, SIGUSR2);
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    pthread_t t;
    NEED(pthread_create(&t, NULL, other, NULL) == 0);
    kill(getpid(), SIGSTOP);
    WAIT_UNTIL(first && second);
    _exit(0);
}

int main(void) {
    int ended = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0)
            child();
        int status;
        NEED(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
        NEED(kill(pid, SIGUSR1) == 0 && kill(pid, SIGUSR2) == 0 && kill(pid, SIGCONT) == 0);
        NEED(waitpid(pid, &status, 0) == pid);
        ended += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    SHOW(ended);
    DONE();
}
