// signalfd: blocked signals are read as records, with sender and value; poll tells of them.
#include "t.h"
#include <poll.h>
#include <sys/signalfd.h>

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct signalfd_siginfo info[4];
    SHOW(read(fd, info, sizeof info));
    SHOW(read(fd, info, 10));
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 42});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 43});
    struct pollfd p = {.fd = fd, .events = POLLIN};
    SHOW(poll(&p, 1, 0));
    SHOW(read(fd, info, sizeof info) / (long)sizeof *info);
    for (int i = 0; i < 3; i++)
        printf("signal %d code %d value %d from me %d\n", info[i].ssi_signo == SIGUSR1 ? 1 : 2, info[i].ssi_code,
               info[i].ssi_code == SI_QUEUE ? info[i].ssi_int : 0, info[i].ssi_pid == (unsigned)getpid());
    SHOW(poll(&p, 1, 0));
    sigdelset(&set, SIGUSR1);
    SHOW(signalfd(fd, &set, 0) == fd);
    kill(getpid(), SIGUSR1);
    SHOW(poll(&p, 1, 0));
    raise(SIGRTMIN);
    SHOW(read(fd, info, sizeof info) / (long)sizeof *info);
    SHOW(signalfd(0, &set, 0));
    SHOW(signalfd(-1, &set, 0x10));
    DONE();
}
