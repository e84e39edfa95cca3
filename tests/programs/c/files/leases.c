// Leases (fcntl(2), "Leases"): who may have one, the signal at an open(2) or truncate(2) that conflicts, and how long that waits.
#include "t.h"
#include <pthread.h>
#include <sys/wait.h>

static volatile sig_atomic_t signals, code, descriptor;
static volatile long band;

static void on_signal(int signal, siginfo_t *info, void *context) {
    code = info->si_code;
    band = info->si_band;
    descriptor = info->si_fd;
    signals++;
}

static const char *name_of(int type) {
    return type == F_RDLCK ? "read" : type == F_WRLCK ? "write" : type == F_UNLCK ? "none" : "error";
}
#define LEASE(fd) printf("%s: %s\n", #fd, name_of(fcntl(fd, F_GETLEASE)))

static void who_may(void) {
    int reader = open("file", O_RDONLY | O_CREAT, 0644), directory = open(".", O_RDONLY), ends[2];
    NEED(reader >= 0 && directory >= 0 && pipe(ends) == 0);
    SHOW(fcntl(reader, F_SETLEASE, 7));
    SHOW(fcntl(reader, F_SETLEASE, F_UNLCK));
    SHOW(fcntl(directory, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(directory, F_SETLEASE, F_UNLCK));
    SHOW(fcntl(directory, F_GETLEASE));
    SHOW(fcntl(ends[0], F_SETLEASE, F_RDLCK));
    SHOW(fcntl(ends[0], F_GETLEASE));
    int mere = open("file", O_PATH);
    SHOW(fcntl(mere, F_SETLEASE, F_RDLCK));
    LEASE(reader);
    SHOW(fcntl(reader, F_SETLEASE, F_WRLCK));
    LEASE(reader);
    SHOW(fcntl(reader, F_SETLEASE, F_RDLCK));
    LEASE(reader);
    // Of the description, and so of a copy.
    int copy = dup(reader);
    LEASE(copy);
    SHOW(fcntl(copy, F_SETLEASE, F_UNLCK));
    LEASE(reader);
    int second = open("file", O_RDONLY);
    SHOW(fcntl(reader, F_SETLEASE, F_WRLCK));
    SHOW(fcntl(reader, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(second, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(second, F_SETLEASE, F_WRLCK));
    close(second);
    SHOW(fcntl(reader, F_SETLEASE, F_WRLCK));
    SHOW(fcntl(reader, F_SETLEASE, F_UNLCK));
    int writer = open("file", O_RDWR);
    SHOW(fcntl(reader, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(writer, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(writer, F_SETLEASE, F_WRLCK));
    close(reader);
    close(copy);
    SHOW(fcntl(writer, F_SETLEASE, F_WRLCK));
    // A mapping keeps the file open.
    reader = open("other", O_RDONLY | O_CREAT, 0644);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, reader, 0);
    second = open("other", O_RDONLY);
    close(reader);
    SHOW(fcntl(second, F_SETLEASE, F_WRLCK));
    munmap(mapped, 4096);
    SHOW(fcntl(second, F_SETLEASE, F_WRLCK));
    close(second);
    close(writer);
    close(mere);
    close(directory);
}

// Owner and signal are those of the descriptor; both go with the lease.
static void owners(void) {
    int fd = open("file", O_RDONLY);
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_SETSIG, SIGUSR1));
    SHOW(fcntl(fd, F_SETLEASE, F_RDLCK));
    SHOW(fcntl(fd, F_GETOWN) == getpid());
    SHOW(fcntl(fd, F_GETSIG) == SIGUSR1);
    SHOW(fcntl(fd, F_SETLEASE, F_UNLCK));
    SHOW(fcntl(fd, F_GETOWN));
    SHOW(fcntl(fd, F_GETSIG));
    close(fd);
}

static void told(int fd) {
    printf("signals %d, code %d, band %lx, descriptor is right: %d\n", signals, code, band, descriptor == fd);
    signals = 0;
}

static void not_waiting(void) {
    int fd = open("file", O_RDONLY);
    NEED(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0);
    int other = open("file", O_RDONLY | O_NONBLOCK);
    CHECK(other >= 0 && signals == 0);
    SHOW(open("file", O_PATH | O_NONBLOCK) >= 0);
    SHOW(open("file", O_WRONLY | O_NONBLOCK));
    told(fd);
    LEASE(fd);
    // Once.
    SHOW(open("file", O_RDWR | O_NONBLOCK));
    told(fd);
    SHOW(fcntl(fd, F_SETLEASE, F_RDLCK));
    LEASE(fd);
    SHOW(open("file", O_RDWR | O_NONBLOCK));
    told(fd);
    SHOW(fcntl(fd, F_SETLEASE, F_UNLCK));
    close(other);
    // A lease for writing gives way to readers by becoming one for reading.
    NEED(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    SHOW(open("file", O_RDONLY | O_NONBLOCK));
    told(fd);
    LEASE(fd);
    SHOW(open("file", O_WRONLY | O_NONBLOCK));
    told(fd);
    LEASE(fd);
    SHOW(fcntl(fd, F_SETLEASE, F_UNLCK));
    int writer = open("file", O_WRONLY | O_NONBLOCK);
    CHECK(writer >= 0);
    close(writer);
    close(fd);
    // What is closed has no lease.
    fd = open("file", O_RDONLY);
    NEED(fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    close(fd);
    writer = open("file", O_RDWR | O_NONBLOCK);
    CHECK(writer >= 0);
    close(writer);
}

// The other one waits until the holder has given its lease up: `how` says by what.
static void waiting(int lease, int how, const char *what) {
    int fd = open("file", O_RDONLY);
    NEED(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_SETLEASE, lease) == 0);
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    int ends[2];
    NEED(pipe(ends) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(fd);
        int result = !strcmp(what, "truncate") ? truncate("file", 5)
                                               : open("file", !strcmp(what, "write") ? O_WRONLY : O_RDONLY);
        NEED(write(ends[1], "w", 1) == 1);
        _exit(result >= 0 ? 0 : errno);
    }
    siginfo_t info;
    NEED(sigwaitinfo(&blocked, &info) == SIGUSR1);
    printf("%s: code %d, descriptor is right: %d\n", what, info.si_code, info.si_fd == fd);
    LEASE(fd);
    // It has not gone on.
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    char byte;
    SHOW(read(ends[0], &byte, 1));
    if (how >= 0)
        SHOW(fcntl(fd, F_SETLEASE, how));
    else
        close(fd);
    int status;
    NEED(waitpid(child, &status, 0) == child);
    printf("status %x\n", status);
    if (how >= 0)
        LEASE(fd);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void interrupted(int signal) {}

// A signal ends the wait.
static void signalled(void) {
    int fd = open("file", O_RDONLY);
    NEED(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        struct sigaction act = {.sa_handler = interrupted};
        sigaction(SIGUSR2, &act, NULL);
        int result = open("file", O_RDONLY);
        _exit(result >= 0 ? 0 : errno == EINTR ? 7 : 8);
    }
    siginfo_t info;
    NEED(sigwaitinfo(&blocked, &info) == SIGUSR1);
    // The child sleeps, or is about to: it gets signals until one has ended the call.
    int status;
    do {
        kill(child, SIGUSR2);
        sleep_ms(1);
    } while (waitpid(child, &status, WNOHANG) == 0);
    printf("interrupted: %x\n", status);
    close(fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(void) {
    enter_scratch();
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &act, NULL);
    who_may();
    owners();
    not_waiting();
    waiting(F_WRLCK, F_UNLCK, "write");
    waiting(F_WRLCK, F_RDLCK, "read");
    waiting(F_RDLCK, F_UNLCK, "write");
    waiting(F_RDLCK, F_UNLCK, "truncate");
    waiting(F_WRLCK, -1, "write");
    signalled();
    DONE();
}
