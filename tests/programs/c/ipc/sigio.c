// SIGIO: a file with O_ASYNC (FIOASYNC, F_SETFL) signals its owner when it becomes ready; the owner is a process, a thread
// or a group, and F_SETSIG chooses a signal that says what happened to which descriptor.
// flags: -pthread
// machines: all
#include "t.h"
#include <arpa/inet.h>
#include <asm/ioctls.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static volatile sig_atomic_t plain;
static void count(int signal) { plain += signal == SIGIO; }

// Waits for `signal`, which is blocked, and says what it tells of `fd`.
static void show_signal(const char *name, int signal, int fd) {
    sigset_t set;
    siginfo_t info;
    struct timespec limit = {20, 0};
    sigemptyset(&set);
    sigaddset(&set, signal);
    if (sigtimedwait(&set, &info, &limit) != signal) {
        printf("%s: %s\n", name, t_errno(errno));
        return;
    }
    printf("%s: in %d, of the descriptor %d, band has POLLIN %d\n", name, info.si_code == POLL_IN, info.si_fd == fd,
           (info.si_band & POLLIN) != 0);
}

static void wait_for_plain(const char *name) {
    sigset_t blocked, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGIO);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    while (!plain)
        sigsuspend(&old);
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("%s: SIGIO\n", name);
    plain = 0;
}

static void owners(int fd) {
    struct f_owner_ex owner = {F_OWNER_TID, getpid()};
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_GETSIG));
    SHOW(fcntl(fd, F_SETOWN, getpid()));
    SHOW(fcntl(fd, F_GETOWN) == getpid());
    NEED(fcntl(fd, F_GETOWN_EX, &owner) == 0);
    SHOW(owner.type == F_OWNER_PID && owner.pid == getpid());
    SHOW(fcntl(fd, F_SETOWN, -getpgrp()));
    NEED(fcntl(fd, F_GETOWN_EX, &owner) == 0);
    SHOW(owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
    owner = (struct f_owner_ex){F_OWNER_TID, (int)syscall(SYS_gettid)};
    SHOW(fcntl(fd, F_SETOWN_EX, &owner));
    owner.type = 7;
    SHOW(fcntl(fd, F_SETOWN_EX, &owner));
    SHOW(fcntl(fd, F_SETOWN_EX, (void *)8L));
    SHOW(fcntl(fd, F_SETOWN, 0x7ffffff0));
    SHOW(fcntl(fd, F_SETSIG, 65));
    SHOW(fcntl(fd, F_SETOWN, 0));
    SHOW(fcntl(fd, F_GETOWN));
    // The owner is gone.
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    SHOW(fcntl(fd, F_SETOWN, pid));
    kill(pid, SIGKILL);
    NEED(waitpid(pid, NULL, 0) == pid);
    SHOW(fcntl(fd, F_GETOWN));
}

static void *write_later(void *fd) {
    sleep_ms(20);
    NEED(write((int)(long)fd, "x", 1) == 1);
    return NULL;
}

static void expect(const char *name, int reader, int writer) {
    int on = 1;
    char byte;
    pthread_t thread;
    NEED(fcntl(reader, F_SETOWN, getpid()) == 0);
    printf("%s: FIOASYNC %d\n", name, ioctl(reader, FIOASYNC, &on));
    SHOW((fcntl(reader, F_GETFL) & O_ASYNC) != 0);
    NEED(fcntl(reader, F_SETSIG, 0) == 0);
    NEED(pthread_create(&thread, NULL, write_later, (void *)(long)writer) == 0);
    wait_for_plain(name);
    pthread_join(thread, NULL);
    NEED(read(reader, &byte, 1) == 1);
    NEED(fcntl(reader, F_SETSIG, SIGRTMIN + 1) == 0);
    NEED(fcntl(reader, F_GETSIG) == SIGRTMIN + 1);
    NEED(write(writer, "x", 1) == 1);
    show_signal(name, SIGRTMIN + 1, reader);
    NEED(read(reader, &byte, 1) == 1);
    // Off again: nothing comes.
    NEED(fcntl(reader, F_SETFL, 0) == 0);
    SHOW((fcntl(reader, F_GETFL) & O_ASYNC) != 0);
    sigset_t set, waiting;
    siginfo_t info;
    struct timespec now = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    while (sigtimedwait(&set, &info, &now) > 0) {
    }
    NEED(write(writer, "x", 1) == 1);
    sigpending(&waiting);
    SHOW(sigismember(&waiting, SIGRTMIN + 1));
    NEED(read(reader, &byte, 1) == 1);
}

static void tcp_pair(int ends[2]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    NEED(bind(listener, (struct sockaddr *)&at, len) == 0 && listen(listener, 1) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    // A listener signals connections.
    NEED(ioctl(listener, FIOASYNC, &on) == 0 && fcntl(listener, F_SETOWN, getpid()) == 0);
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    NEED(connect(ends[1], (struct sockaddr *)&at, len) == 0);
    wait_for_plain("listener");
    NEED((ends[0] = accept(listener, NULL, NULL)) >= 0);
    close(listener);
}

// The group of the program gets the signal, and so does a child in it.
static void group(void) {
    int ends[2], result[2];
    char byte = 0;
    NEED(setpgid(0, 0) == 0 || errno == EPERM);
    NEED(pipe(ends) == 0 && pipe(result) == 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    NEED(fcntl(ends[0], F_SETOWN, -getpgrp()) == 0 && fcntl(ends[0], F_SETSIG, SIGUSR1) == 0);
    NEED(fcntl(ends[0], F_SETFL, O_ASYNC) == 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        int signal;
        sigwait(&set, &signal);
        NEED(write(result[1], "s", 1) == 1);
        _exit(0);
    }
    NEED(write(ends[1], "x", 1) == 1);
    int signal;
    NEED(sigwait(&set, &signal) == 0);
    NEED(read(result[0], &byte, 1) == 1 && waitpid(pid, NULL, 0) == pid);
    printf("group: signal %d and in the child %c\n", signal == SIGUSR1, byte);
}

int main(void) {
    struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
    NEED(sigaction(SIGIO, &action, NULL) == 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int ends[2], on = 1, file;
    NEED(pipe(ends) == 0);
    owners(ends[0]);
    expect("pipe", ends[0], ends[1]);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    expect("unix", ends[0], ends[1]);
    SHOW(ioctl(ends[0], FIOSETOWN, &on) == 0 || errno == EPERM);
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    expect("unix datagram", ends[0], ends[1]);
    tcp_pair(ends);
    expect("tcp", ends[0], ends[1]);
    group();
    enter_scratch();
    NEED((file = open("file", O_CREAT | O_RDWR, 0600)) >= 0);
    SHOW(ioctl(file, FIOASYNC, &on));
    SHOW(fcntl(file, F_SETFL, O_ASYNC));
    SHOW((fcntl(file, F_GETFL) & O_ASYNC) != 0);
    SHOW(ioctl(ends[0], FIOASYNC, (void *)8L));
    DONE();
}
