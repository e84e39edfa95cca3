// Does one kind of work on N objects that are all there at once: `growth KIND N`. tests/growth.rs counts the guest's
// instructions for several N: the cost of an object must not grow with their number.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096l
#define NEED(cond)                                                                                               \
    do {                                                                                                         \
        if (!(cond)) {                                                                                           \
            printf("%s: %s\n", #cond, strerror(errno));                                                          \
            exit(1);                                                                                             \
        }                                                                                                        \
    } while (0)

static const char *name_of(long number) {
    static char name[32];
    snprintf(name, sizeof name, "file-%08ld", number);
    return name;
}

static char *room(long n) {
    char *room = mmap(0, n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(room != MAP_FAILED);
    return room;
}

/* Mappings that no two neighbours of are one. */
static void mmaps(long n) {
    for (long i = 0; i < n; i++)
        NEED(mmap(0, PAGE, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static void mprotects(long n) {
    char *start = room(n);
    for (long i = 0; i < n; i += 2)
        NEED(mprotect(start + i * PAGE, PAGE, PROT_READ) == 0);
}

static void munmaps(long n) {
    char *start = room(2 * n);
    for (long i = 0; i < n; i++)
        NEED(munmap(start + 2 * i * PAGE, PAGE) == 0);
}

static void faults(long n) {
    char *start = room(2 * n);
    for (long i = 0; i < n; i++) {
        NEED(mprotect(start + 2 * i * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
        start[2 * i * PAGE] = 1;
    }
}

static void forks(long n) {
    mprotects(n);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    NEED(waitpid(child, 0, 0) == child);
}

static void maps(long n) {
    mprotects(n);
    static char text[4096];
    int fd = open("/proc/self/maps", O_RDONLY);
    while (read(fd, text, sizeof text) > 0) {
    }
}

static void enter(void) { NEED(mkdir("/tmp/growth", 0700) == 0 && chdir("/tmp/growth") == 0); }

static void creates(long n) {
    enter();
    for (long i = 0; i < n; i++)
        NEED(mknod(name_of(i), S_IFREG | 0600, 0) == 0);
}

static void stats(long n) {
    struct stat st;
    creates(n);
    for (long i = 0; i < n; i++)
        NEED(stat(name_of(i), &st) == 0 && stat(".", &st) == 0);
}

static void unlinks(long n) {
    creates(n);
    for (long i = 0; i < n; i++)
        NEED(unlink(name_of(i)) == 0);
}

static void renames(long n) {
    creates(n);
    for (long i = 0; i < n; i++)
        NEED(rename(name_of(i), "other") == 0 && rename("other", name_of(i)) == 0);
}

static void mkdirs(long n) {
    enter();
    for (long i = 0; i < n; i++)
        NEED(mkdir(name_of(i), 0700) == 0);
}

static void rmdirs(long n) {
    mkdirs(n);
    for (long i = 0; i < n; i++)
        NEED(rmdir(name_of(i)) == 0);
}

static void lists(long n) {
    creates(n);
    DIR *dir = opendir(".");
    while (readdir(dir)) {
    }
}

static void descriptors(long n) {
    struct rlimit limit = {n + 10, n + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (long i = 0; i < n; i++)
        NEED(dup(0) >= 0);
}

static void listed_descriptors(long n) {
    descriptors(n);
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        NEED(close(5) == 0);
        dir = opendir("/proc/self/fd");
    }
    while (readdir(dir)) {
    }
}

static void epolls(long n) {
    struct rlimit limit = {n + 10, n + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    for (long i = 0; i < n; i++) {
        int fd = eventfd(0, 0);
        NEED(fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    }
}

/* Sets that watch one file: some forget it, some are closed, and the others have it closed under them. */
static void watchers(long n) {
    struct rlimit limit = {n + 10, n + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct epoll_event event = {.events = EPOLLIN};
    int fd = eventfd(0, 0), first = fd + 1;
    for (long i = 0; i < n; i++) {
        int set = epoll_create1(0);
        NEED(set == first + i && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    }
    for (long i = 0; i < n; i++) {
        if (i % 3 == 0)
            NEED(epoll_ctl(first + i, EPOLL_CTL_DEL, fd, 0) == 0);
        if (i % 3 == 1)
            NEED(close(first + i) == 0);
    }
    NEED(close(fd) == 0);
}

static void timers(long n) {
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec when = {.it_value = {1000, 0}};
    for (long i = 0; i < n; i++) {
        timer_t timer;
        when.it_value.tv_sec = 1000 + i;
        NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &when, 0) == 0);
    }
}

static void processes(long n) {
    for (long i = 0; i < n; i++) {
        pid_t child = vfork();
        if (child == 0)
            _exit(0);
        NEED(child > 0);
    }
    while (wait(0) > 0) {
    }
}

static void sockets(long n, int family, const struct sockaddr *address, socklen_t length) {
    struct rlimit limit = {n + 10, n + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (long i = 0; i < n; i++)
        NEED(bind(socket(family, SOCK_DGRAM, 0), address, length) == 0);
}

/* Sockets with ports that the kernel chooses. */
static void ports(long n) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    sockets(n, AF_INET, (struct sockaddr *)&any, sizeof any);
}

/* Sockets with names that the kernel chooses (unix(7), autobind). */
static void socket_names(long n) {
    struct sockaddr any = {.sa_family = AF_UNIX};
    sockets(n, AF_UNIX, &any, sizeof any.sa_family);
}

/* Locks of different files. */
static void locks(long n) {
    struct rlimit limit = {n + 10, n + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    enter();
    for (long i = n; i-- > 0;) {
        int fd = open(name_of(i), O_CREAT | O_RDWR, 0600);
        NEED(fd >= 0 && flock(fd, LOCK_EX) == 0);
    }
}

/* Record locks of one file, and their release one by one. */
static void record_locks(long n) {
    enter();
    int fd = open("file", O_CREAT | O_RDWR, 0600);
    for (long i = 0; i < n; i++) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = 2 * i, .l_len = 1};
        NEED(fcntl(fd, F_SETLK, &lock) == 0);
    }
    for (long i = 0; i < n; i++) {
        struct flock lock = {.l_type = F_UNLCK, .l_start = 2 * i, .l_len = 1};
        NEED(fcntl(fd, F_SETLK, &lock) == 0);
    }
}

/* Sockets that are sent and closed: each close of one, or of another file, happens beside those in flight. */
static void in_flight(long n) {
    enum { BATCH = 250 };
    struct rlimit limit = {n + BATCH + 10, n + BATCH + 10};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int pair[2], fds[BATCH];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    for (long i = 0; i < n; i += BATCH) {
        char control[CMSG_SPACE(sizeof fds)] = {0};
        struct iovec v = {"f", 1};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fds);
        for (int j = 0; j < BATCH; j++)
            NEED((fds[j] = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
        memcpy(CMSG_DATA(c), fds, sizeof fds);
        NEED(sendmsg(pair[0], &m, 0) == 1);
        for (int j = 0; j < BATCH; j++)
            NEED(close(fds[j]) == 0 && close(open("/dev/null", O_RDONLY)) == 0);
    }
}

static const struct {
    const char *name;
    void (*work)(long);
} KINDS[] = {
    {"mmap", mmaps},       {"mprotect", mprotects},       {"munmap", munmaps}, {"fault", faults},
    {"fork", forks},       {"maps", maps},                {"create", creates}, {"stat", stats},
    {"unlink", unlinks},   {"rename", renames},           {"list", lists},     {"descriptor", descriptors},
    {"proc-fd", listed_descriptors}, {"epoll", epolls},   {"timer", timers},
    {"watcher", watchers}, {"mkdir", mkdirs},             {"rmdir", rmdirs},
    {"process", processes},          {"port", ports},     {"socket-name", socket_names}, {"lock", locks},
    {"in-flight", in_flight},        {"record-lock", record_locks},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 2 && i < sizeof KINDS / sizeof *KINDS; i++)
        if (strcmp(argv[1], KINDS[i].name) == 0) {
            KINDS[i].work(atol(argv[2]));
            puts("done");
            return 0;
        }
    return 2;
}
