// What a call waits for goes before the signal that comes with it: the end of a child is reported though SIGCHLD has a
// handler without SA_RESTART, and bytes are read though a signal followed them. A signal alone ends the wait.
// machines: all
#include "t.h"
#include <poll.h>
#include <sys/wait.h>

static volatile sig_atomic_t caught;
static void handler(int signal) { caught += signal == SIGCHLD; }

static pid_t child_that_ends(int status) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        sleep_ms(20);
        _exit(status);
    }
    return pid;
}

int main(void) {
    enum { ROUNDS = 5 };
    struct sigaction action = {.sa_handler = handler};
    NEED(sigaction(SIGCHLD, &action, NULL) == 0);
    NEED(sigaction(SIGUSR1, &action, NULL) == 0);
    int by_pid = 0, by_id = 0;
    for (int i = 0; i < ROUNDS; i++) {
        int status = 0;
        pid_t pid = child_that_ends(i);
        by_pid += waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i;
        siginfo_t info = {0};
        pid = child_that_ends(i);
        by_id += waitid(P_ALL, 0, &info, WEXITED) == 0 && info.si_pid == pid && info.si_status == i;
    }
    SHOW(by_pid);
    SHOW(by_id);
    SHOW(caught);
    pid_t self = getpid();
    int ends[2], read_all = 0;
    NEED(pipe(ends) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) {
            sleep_ms(20);
            NEED(write(ends[1], "x", 1) == 1);
            kill(self, SIGUSR1);
            pause();
        }
        char byte = 0;
        read_all += read(ends[0], &byte, 1) == 1 && byte == 'x';
        kill(pid, SIGKILL);
        // The signal of the child that was killed may come while the next one is read.
        while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    SHOW(read_all);
    // Nothing to report, and a signal: it comes again until it has met the wait.
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0)
        for (;;) {
            sleep_ms(20);
            kill(self, SIGUSR1);
        }
    SHOW(waitpid(pid, NULL, 0));
    char byte;
    SHOW(read(ends[0], &byte, 1));
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR) {
    }
    DONE();
}
