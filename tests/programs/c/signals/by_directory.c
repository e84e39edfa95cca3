// pidfd_send_signal: to a process whose directory of /proc is open, to one that has ended, and with the information that a program gives.
#include "t.h"
#include <sys/wait.h>

static int send(int fd, int signal, siginfo_t *info, unsigned flags) {
    return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}

static volatile sig_atomic_t caught;
static void count(int signal) { caught += signal == SIGUSR1; }

int main(void) {
    signal(SIGUSR1, count);
    int own = open("/proc/self", O_RDONLY | O_DIRECTORY);
    NEED(own >= 0);
    SHOW(send(own, SIGUSR1, NULL, 0));
    SHOW(caught);
    SHOW(send(own, 0, NULL, 0));
    SHOW(send(own, 65, NULL, 0));
    SHOW(send(own, SIGUSR1, NULL, 1 << 20));
    // Other files, and a directory that is not open for anything.
    int path_only = open("/proc/self", O_PATH), thread = open("/proc/thread-self", O_RDONLY), root = open("/", O_RDONLY);
    int below = open("/proc/self/fd", O_RDONLY), file = open("/proc/self/stat", O_RDONLY);
    NEED(path_only >= 0 && thread >= 0 && root >= 0 && below >= 0 && file >= 0);
    SHOW(send(path_only, SIGUSR1, NULL, 0));
    SHOW(send(thread, SIGUSR1, NULL, 0));
    SHOW(send(root, SIGUSR1, NULL, 0));
    SHOW(send(below, SIGUSR1, NULL, 0));
    SHOW(send(file, SIGUSR1, NULL, 0));
    SHOW(send(-1, SIGUSR1, NULL, 0));
    // The information has the signal's number, and towards others a code of programs.
    siginfo_t info = {.si_signo = SIGUSR2, .si_code = SI_QUEUE};
    SHOW(send(own, SIGUSR1, &info, 0));
    info.si_signo = SIGUSR1;
    SHOW(send(own, SIGUSR1, &info, 0));
    SHOW(send(own, SIGUSR1, (siginfo_t *)8, 0));
    SHOW(caught);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        for (;;)
            pause();
    char name[32];
    snprintf(name, sizeof name, "/proc/%d", child);
    int directory = open(name, O_RDONLY | O_DIRECTORY), handle = (int)syscall(SYS_pidfd_open, child, 0);
    NEED(directory >= 0 && handle >= 0);
    info.si_code = SI_USER;
    SHOW(send(directory, SIGUSR1, &info, 0));
    SHOW(send(directory, SIGKILL, NULL, 0));
    // It has ended, and is there until it was waited for.
    siginfo_t ended;
    NEED(waitid(P_PID, child, &ended, WEXITED | WNOWAIT) == 0);
    SHOW(ended.si_code == CLD_KILLED && ended.si_status == SIGKILL);
    SHOW(send(directory, SIGUSR1, NULL, 0));
    SHOW(send(handle, SIGUSR1, NULL, 0));
    NEED(waitpid(child, NULL, 0) == child);
    SHOW(send(directory, SIGUSR1, NULL, 0));
    SHOW(send(handle, SIGUSR1, NULL, 0));
    DONE();
}
