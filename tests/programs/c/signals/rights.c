// Whom a process may send signals: those of the same user; SIGCONT within the session; root, everybody.
#include "t.h"
#include <sys/wait.h>

#define USER 1000
#define OTHER 1001

static int hold[2], ready[2];

// A process of that user, which ends when the pipe's other end is closed.
static pid_t start(int real, int saved) {
    pid_t pid = fork();
    if (!pid) {
        char byte;
        close(hold[1]);
        signal(SIGUSR1, SIG_IGN);
        if (setresuid(real, real, saved))
            _exit(9);
        if (write(ready[1], "", 1) != 1)
            _exit(8);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    char byte;
    NEED(pid > 0 && read(ready[0], &byte, 1) == 1);
    return pid;
}
static void look(const char *who, pid_t pid) {
    printf("%s:\n", who);
    SHOW(kill(pid, 0));
    SHOW(kill(pid, SIGUSR1));
    SHOW(kill(pid, SIGCONT));
    SHOW((int)syscall(SYS_tgkill, pid, pid, SIGUSR1));
    SHOW((int)syscall(SYS_tkill, pid, 0));
    siginfo_t info = {.si_code = SI_QUEUE};
    SHOW((int)syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    SHOW((int)syscall(SYS_pidfd_send_signal, fd, SIGUSR1, NULL, 0));
    close(fd);
}

int main(void) {
    NEED(!pipe(hold) && !pipe(ready));
    pid_t of_root = start(0, 0), of_user = start(USER, USER), of_other = start(OTHER, OTHER);
    look("root to root's", of_root);
    look("root to user's", of_user);
    CHECK(!setresuid(USER, OTHER, 0));
    look("real to user's", of_user);
    look("effective to other's", of_other);
    look("neither to root's", of_root);
    CHECK(!seteuid(0) && !setresuid(USER, USER, USER));
    look("user to user's", of_user);
    look("user to other's", of_other);
    SHOW(kill(999999, 0));
    close(hold[1]);
    int status;
    for (int i = 0; i < 3; i++) {
        CHECK(wait(&status) > 0);
        CHECK(status == 0);
    }
    DONE();
}
