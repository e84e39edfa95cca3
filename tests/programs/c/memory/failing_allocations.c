// The n-th allocation that a call makes in the kernel fails, for every n, in calls of all kinds: each failure ends in ENOMEM
// or the errno that Linux documents, nothing leaks, and the machine lives.
// link: static
// flags: -pthread
// memory: 128M
// fail-alloc: 0
// args: 44
// linux: no
// machines: all
// stdout-has: every call fails and succeeds as it should
// stdout-has: no memory is lost
#include "failing.h"
#include <dirent.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <grp.h>

#define PAGE 4096

static void close_if(long fd) {
    if (fd >= 0)
        close(fd);
}

static void close_both(const int fds[2]) {
    close(fds[0]);
    close(fds[1]);
}

static void names(void) {
    struct stat st;
    char text[PATH_MAX];
    write_file("file", "text");
    NEED(mkdir("dir", 0755) == 0);
    write_file("dir/inner", "text");
    TRY("open", , open("file", O_RDONLY), close_if(result));
    TRY("open a long path", , open("dir/../dir/../dir/./inner", O_RDWR), close_if(result));
    TRY_ALSO("open a new file", ENOSPC, , open("new", O_CREAT | O_RDWR, 0644), { close_if(result); unlink("new"); });
    TRY("open without a name", , open(".", O_TMPFILE | O_RDWR, 0644), close_if(result));
    TRY("open a path", , open("file", O_PATH), close_if(result));
    TRY("open a device", , open("/dev/zero", O_RDWR), close_if(result));
    TRY("stat", , stat("dir/inner", &st), );
    TRY("access", , access("/etc", R_OK), );
    TRY_ALSO("mkdir", ENOSPC, , mkdir("made", 0755), rmdir("made"));
    TRY("rmdir", mkdir("made", 0755), rmdir("made"), rmdir("made"));
    TRY_ALSO("rename", ENOSPC, , rename("file", "dir/moved"), rename("dir/moved", "file"));
    TRY_ALSO("rename a directory", ENOSPC, , rename("dir", "moved"), rename("moved", "dir"));
    TRY("rename over another", write_file("other", "x"), rename("other", "file"), unlink("other"));
    TRY("exchange", , syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "dir", 2), {
        if (result == 0)
            NEED(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "dir", 2) == 0);
    });
    TRY_ALSO("link", ENOSPC, , link("file", "linked"), unlink("linked"));
    TRY("unlink", write_file("gone", "x"), unlink("gone"), unlink("gone"));
    TRY_ALSO("symlink", ENOSPC, , symlink("file", "symbolic"), unlink("symbolic"));
    NEED(symlink("dir/inner", "way") == 0);
    TRY("readlink", , readlink("way", text, sizeof text), );
    TRY("open by a link", , open("way", O_RDONLY), close_if(result));
    TRY_ALSO("mknod", ENOSPC, , mknod("fifo", S_IFIFO | 0644, 0), unlink("fifo"));
    TRY("chmod", , chmod("file", 0600), );
    TRY("chdir", , chdir("dir"), if (result == 0) NEED(chdir("..") == 0));
    TRY("getcwd", , syscall(SYS_getcwd, text, sizeof text), );
    int fd = open(".", O_RDONLY);
    TRY("getdents64", lseek(fd, 0, SEEK_SET), syscall(SYS_getdents64, fd, text, sizeof text), );
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    char path[PATH_MAX];
    TRY("readlink of a descriptor", , readlink(text, path, sizeof path), );
    close(fd);
    TRY("mount", , mount("none", "dir", "tmpfs", 0, NULL), umount("dir"));
    TRY("mount /proc", , mount("none", "dir", "proc", 0, NULL), umount("dir"));
    TRY("bind", , mount("/etc", "dir", NULL, MS_BIND, NULL), umount("dir"));
    TRY("umount", mount("none", "dir", "tmpfs", 0, NULL), umount("dir"), umount("dir"));
    TRY("statfs", , syscall(SYS_statfs, ".", text), );
    unlink("way");
    unlink("dir/inner");
    unlink("file");
    rmdir("dir");
}

static void contents(void) {
    static char bytes[4 * PAGE];
    struct iovec parts[3] = {{bytes, PAGE}, {bytes, 10}, {bytes, PAGE}};
    int fd = open("content", O_CREAT | O_RDWR | O_APPEND, 0644);
    NEED(fd >= 0);
    TRY_ALSO("write", ENOSPC, ftruncate(fd, 0), write(fd, bytes, sizeof bytes), );
    TRY_ALSO("writev", ENOSPC, ftruncate(fd, 0), writev(fd, parts, 3), );
    NEED(ftruncate(fd, 8 * PAGE) == 0);
    TRY("readv", lseek(fd, 0, SEEK_SET), readv(fd, parts, 3), );
    TRY_ALSO("write far away", ENOSPC, ftruncate(fd, 0), pwrite(fd, bytes, 1, 100L << 20), );
    TRY_ALSO("fallocate", ENOSPC, ftruncate(fd, 0), fallocate(fd, 0, 0, 8 * PAGE), );
    TRY("truncate", ftruncate(fd, 8 * PAGE), ftruncate(fd, 1), );
    TRY_ALSO("flock", ENOLCK, , flock(fd, LOCK_EX), flock(fd, LOCK_UN));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 10};
    struct flock unlock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    TRY_ALSO("fcntl lock", ENOLCK, , fcntl(fd, F_SETLK, &lock), fcntl(fd, F_SETLK, &unlock));
    int pipes[2];
    NEED(pipe(pipes) == 0);
    NEED(ftruncate(fd, 2 * PAGE) == 0);
    off_t from = 0;
    TRY("sendfile", from = 0, sendfile(pipes[1], fd, &from, 100), if (result > 0) read(pipes[0], bytes, result));
    TRY("splice", from = 0, splice(fd, &from, pipes[1], NULL, 100, 0), if (result > 0) read(pipes[0], bytes, result));
    close_both(pipes);
    close(fd);
    unlink("content");
    TRY("memfd_create", , syscall(SYS_memfd_create, "name", 0), close_if(result));
    fd = syscall(SYS_memfd_create, "name", 0);
    TRY_ALSO("write to a memfd", ENOSPC, ftruncate(fd, 0), pwrite(fd, bytes, sizeof bytes, 0), );
    close(fd);
}

static void descriptors(void) {
    int pipes[2];
    char bytes[100] = "";
    TRY("pipe", , pipe(pipes), if (result == 0) close_both(pipes));
    NEED(pipe(pipes) == 0);
    TRY("write to a pipe", , write(pipes[1], bytes, 100), if (result > 0) NEED(read(pipes[0], bytes, 100) == 100));
    TRY("dup", , dup(pipes[0]), close_if(result));
    TRY("dup far away", , dup2(pipes[0], 900), if (result > 0) close(result));
    TRY("eventfd", , eventfd(0, 0), close_if(result));
    TRY("timerfd", , timerfd_create(CLOCK_MONOTONIC, 0), close_if(result));
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec hour = {.it_value.tv_sec = 3600}, none = {};
    TRY("timerfd_settime", , timerfd_settime(timer, 0, &hour, NULL), timerfd_settime(timer, 0, &none, NULL));
    close(timer);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    TRY("signalfd", , signalfd(-1, &signals, 0), close_if(result));
    TRY("pidfd_open", , syscall(SYS_pidfd_open, getpid(), 0), close_if(result));
    TRY("epoll_create", , epoll_create1(0), close_if(result));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    TRY("epoll_ctl", , epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], &event), epoll_ctl(epoll, EPOLL_CTL_DEL, pipes[1], NULL));
    NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], &event) == 0);
    TRY("epoll_wait", , epoll_wait(epoll, &event, 1, 0), );
    close(epoll);
    struct pollfd polled[40];
    for (int i = 0; i < 40; i++)
        polled[i] = (struct pollfd){pipes[i % 2], POLLIN | POLLOUT, 0};
    TRY("poll", , poll(polled, 40, 0), );
    TRY("poll, waiting", polled[0].fd = pipes[0], poll(polled, 1, 1), );
    fd_set set;
    struct timeval now = {};
    TRY("select", { FD_ZERO(&set); FD_SET(pipes[1], &set); }, select(pipes[1] + 1, NULL, &set, NULL, &now), );
    close_both(pipes);
}

static long send_descriptors(int socket, int fd) {
    char byte = 1, control[CMSG_SPACE(2 * sizeof(int))] = "";
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    *rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(2 * sizeof(int))};
    memcpy(CMSG_DATA(rights), (int[]){fd, fd}, 2 * sizeof(int));
    return sendmsg(socket, &message, 0);
}

// Receives what send_descriptors sent, and closes what arrives.
static long receive_descriptors(int socket) {
    char byte, control[CMSG_SPACE(2 * sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    long result = recvmsg(socket, &message, MSG_DONTWAIT);
    int error = errno;
    struct cmsghdr *rights = result > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (rights)
        for (size_t i = 0; i < (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
            close(((int *)CMSG_DATA(rights))[i]);
    errno = error;
    return result;
}

static long dump_links(void) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    char answer[8192];
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    long result = fd;
    if (fd >= 0 && (result = send(fd, &request, sizeof request, 0)) >= 0)
        result = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    int error = errno;
    close_if(fd);
    errno = error;
    return result;
}

static void sockets(void) {
    int pair[2];
    char bytes[600] = "";
    TRY("socketpair", , socketpair(AF_UNIX, SOCK_STREAM, 0, pair), if (result == 0) close_both(pair));
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    TRY("send", , send(pair[0], bytes, sizeof bytes, 0), if (result > 0) NEED(recv(pair[1], bytes, sizeof bytes, 0) == result));
    TRY("recv", send(pair[0], bytes, 10, 0), recv(pair[1], bytes, 10, MSG_DONTWAIT), if (result < 0) recv(pair[1], bytes, 10, 0));
    TRY("send descriptors", , send_descriptors(pair[0], pair[0]), if (result > 0) receive_descriptors(pair[1]));
    TRY("receive descriptors", send_descriptors(pair[0], pair[0]), receive_descriptors(pair[1]),
        if (result < 0) receive_descriptors(pair[1]));
    close_both(pair);
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    TRY("send a datagram", , send(pair[0], bytes, 100, 0), if (result > 0) recv(pair[1], bytes, 100, 0));
    close_both(pair);

    struct sockaddr_un address = {AF_UNIX, "socket"};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY_ALSO("bind", ENOSPC, { close(listener); unlink("socket"); listener = socket(AF_UNIX, SOCK_STREAM, 0); },
             bind(listener, (struct sockaddr *)&address, sizeof address), );
    TRY("listen", , listen(listener, 5), );
    int client = -1;
    TRY("connect", client = socket(AF_UNIX, SOCK_STREAM, 0),
        connect(client, (struct sockaddr *)&address, sizeof address), {
            if (result == 0)
                close(accept(listener, NULL, NULL));
            close(client);
        });
    TRY("accept", { client = socket(AF_UNIX, SOCK_STREAM, 0); connect(client, (struct sockaddr *)&address, sizeof address); },
        accept(listener, NULL, NULL), {
            close_if(result);
            close(client);
            // One that could not be accepted is still there, or gone.
            if (result < 0 && poll(&(struct pollfd){listener, POLLIN, 0}, 1, 0) == 1)
                close(accept(listener, NULL, NULL));
        });
    close(listener);
    unlink("socket");

    TRY("netlink", , dump_links(), );
    TRY("UDP", , socket(AF_INET, SOCK_DGRAM, 0), close_if(result));
    TRY("TCP", , socket(AF_INET, SOCK_STREAM, 0), close_if(result));
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq requests[4];
    struct ifconf all = {.ifc_len = sizeof requests, .ifc_req = requests};
    TRY("SIOCGIFCONF", all.ifc_len = sizeof requests, ioctl(udp, SIOCGIFCONF, &all), );
    struct sockaddr_in own = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof own;
    NEED(bind(udp, (struct sockaddr *)&own, sizeof own) == 0 && getsockname(udp, (struct sockaddr *)&own, &length) == 0);
    // A datagram may be lost, without an error.
    TRY("sendto", , sendto(udp, bytes, 50, 0, (struct sockaddr *)&own, sizeof own), recv(udp, bytes, 50, MSG_DONTWAIT));
    close(udp);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    own.sin_port = 0;
    TRY_ALSO("bind TCP", EINVAL, , bind(tcp, (struct sockaddr *)&own, sizeof own), if (result == 0) {
        close(tcp);
        tcp = socket(AF_INET, SOCK_STREAM, 0);
    });
    TRY("listen TCP", { close(tcp); tcp = socket(AF_INET, SOCK_STREAM, 0); }, listen(tcp, 5), );
    close(tcp);
}

static void memory(void) {
    TRY("mmap", , mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        if (result != -1) munmap((void *)result, 16 * PAGE));
    TRY("mmap and touch", ,
        mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0),
        if (result != -1) munmap((void *)result, 16 * PAGE));
    TRY("mmap shared", , mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        if (result != -1) munmap((void *)result, 16 * PAGE));
    int fd = open("mapped", O_CREAT | O_RDWR, 0644);
    NEED(ftruncate(fd, 16 * PAGE) == 0);
    TRY("mmap a file", , mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
        if (result != -1) munmap((void *)result, 16 * PAGE));
    close(fd);
    unlink("mapped");
    char *map = NULL;
#define MAP map = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    TRY("mprotect", MAP, mprotect(map + 4 * PAGE, PAGE, PROT_READ), munmap(map, 64 * PAGE));
    TRY("munmap", MAP, munmap(map + 4 * PAGE, PAGE), munmap(map, 64 * PAGE));
    TRY("madvise", { MAP; map[0] = 1; }, madvise(map, 64 * PAGE, MADV_DONTNEED), munmap(map, 64 * PAGE));
    TRY("mremap", { MAP; map[0] = 1; }, mremap(map, 64 * PAGE, 128 * PAGE, MREMAP_MAYMOVE), {
        if (result == -1)
            munmap(map, 64 * PAGE);
        else
            munmap((void *)result, 128 * PAGE);
    });
    TRY("mlock", { MAP; }, mlock(map, PAGE), munmap(map, 64 * PAGE));
}

static void *no_thread(void *argument) { return argument; }

static long start_thread(pthread_t *thread) {
    errno = pthread_create(thread, NULL, no_thread, NULL);
    return errno ? -1 : 0;
}

static volatile sig_atomic_t handled;
static void handle(int signal) { handled += signal > 0; }

// What a child that executed says by its status.
enum { EXECUTED_BEFORE = 40, EXECUTED_AFTER = 41, REFUSED = 42 };

static long execute(const char *self, long nth) {
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        open_nth();
        arm(nth);
        execl(self, self, "executed", NULL);
        int error = errno;
        arm(0);
        _exit(error == ENOMEM ? REFUSED : error);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return status;
}

// Why a lack of memory comes so late that the old program is gone: the new one is killed (execve(2), ERRORS, of Linux 2.6.28).
static void programs(const char *self) {
    pid_t pid;
    pthread_t thread;
    TRY_ALSO("fork", EAGAIN, , pid = fork(), {
        if (pid == 0)
            _exit(0);
        if (pid > 0)
            NEED(waitpid(pid, NULL, 0) == pid);
    });
    TRY_ALSO("start a thread", EAGAIN, , start_thread(&thread), if (result == 0) pthread_join(thread, NULL));
    long refused = 0, nth = 0;
    for (int status = 0; status != W_EXITCODE(EXECUTED_BEFORE, 0);) {
        NEED(++nth < 5000);
        status = execute(self, nth);
        bool is_right = status == W_EXITCODE(EXECUTED_BEFORE, 0) || status == W_EXITCODE(EXECUTED_AFTER, 0) ||
                        status == W_EXITCODE(REFUSED, 0) || WTERMSIG(status) == SIGKILL;
        if (!is_right) {
            printf("FAILED execve, allocation %ld: status %#x\n", nth, status);
            t_failures++;
        }
        refused += status == W_EXITCODE(REFUSED, 0);
    }
    CHECK(refused > 0);
    trials++;
    injected += nth - 1;
    siginfo_t information;
    TRY("wait", { pid = fork(); if (pid == 0) _exit(0); }, waitid(P_PID, pid, &information, WEXITED),
        if (result < 0) waitpid(pid, NULL, 0));
}

static void signals(void) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    struct sigaction action = {.sa_handler = handle};
    TRY("sigaction", , sigaction(SIGUSR1, &action, NULL), );
    NEED(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGRTMIN, &action, NULL) == 0);
    handled = 0;
    long sent = 0;
    TRY("a signal", , raise(SIGUSR1), sent += result == 0);
    CHECK(handled == sent);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    TRY_ALSO("sigqueue", EAGAIN, , sigqueue(getpid(), SIGRTMIN, (union sigval){1}), );
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    timer_t timer;
    TRY_ALSO("timer_create", EAGAIN, , timer_create(CLOCK_MONOTONIC, NULL, &timer), if (result == 0) timer_delete(timer));
    struct timespec moment = {0, 1000};
    TRY("nanosleep", , nanosleep(&moment, NULL), );
    gid_t groups[70] = {1, 2, 3};
    TRY("setgroups", , setgroups(70, groups), setgroups(0, NULL));
    TRY("sched_getaffinity", , syscall(SYS_sched_getaffinity, 0, sizeof groups, groups), );
}

// Opens a file or directory and reads it to its end. EINVAL counts as success: it is not to be read.
static long read_through(const char *path, bool is_directory) {
    char bytes[1024];
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOMEM ? -1 : 0;
    long result;
    do
        result = is_directory ? syscall(SYS_getdents64, fd, bytes, sizeof bytes) : read(fd, bytes, sizeof bytes);
    while (result > 0);
    int error = errno;
    close(fd);
    errno = error;
    return result < 0 && error != ENOMEM && error != EIO ? 0 : result;
}

// Reads all that is below a directory of made files, each with failures.
static void read_tree(const char *path) {
    TRY(path, , read_through(path, true), );
    DIR *directory = opendir(path);
    NEED(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char inner[PATH_MAX], target[PATH_MAX];
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        const char *name = entry->d_name;
        bool is_number = name[strspn(name, "0123456789")] == 0;
        // The program's own files are read below self; other processes come and go; the count of allocations is not to be read.
        if (name[0] == '.' || !strcmp(name, "fail-nth") || (is_number && !strcmp(path, "/proc")))
            continue;
        if (entry->d_type == DT_DIR)
            read_tree(inner);
        else if (entry->d_type == DT_LNK) {
            TRY(inner, , readlink(inner, target, sizeof target), );
        } else if (!strcmp(name, "mem") || !strcmp(name, "pagemap")) {
            // These have holes, and are as long as the address space.
            TRY(inner, , open(inner, O_RDONLY), close_if(result));
        } else {
            TRY(inner, , read_through(inner, false), );
        }
    }
    closedir(directory);
}

static void shared_objects(void) {
    int segment = shmget(IPC_PRIVATE, 2 * PAGE, 0600), set = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600);
    NEED(segment >= 0 && set >= 0 && queue >= 0);
    struct {
        long kind;
        char text[100];
    } message = {1, "text"};
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, SEM_UNDO};
    TRY("shmget", , shmget(IPC_PRIVATE, 2 * PAGE, 0600), if (result >= 0) shmctl((int)result, IPC_RMID, NULL));
    TRY("shmat", , shmat(segment, NULL, 0), if (result != -1) shmdt((void *)result));
    TRY("semget", , semget(IPC_PRIVATE, 2, 0600), if (result >= 0) semctl((int)result, 0, IPC_RMID));
    TRY("semop", , semop(set, &up, 1), if (result == 0) semop(set, &down, 1));
    TRY("msgget", , msgget(IPC_PRIVATE, 0600), if (result >= 0) msgctl((int)result, IPC_RMID, NULL));
    TRY("msgsnd", , msgsnd(queue, &message, 100, 0), if (result == 0) msgrcv(queue, &message, 100, 0, 0));
    TRY("msgrcv", NEED(msgsnd(queue, &message, 100, 0) == 0), msgrcv(queue, &message, 100, 0, 0),
        if (result < 0) msgrcv(queue, &message, 100, 0, 0));
    NEED(shmctl(segment, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0 && msgctl(queue, IPC_RMID, NULL) == 0);

    char text[8192];
    struct sigevent signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    TRY("mq_open", , mq_open("/new", O_RDWR | O_CREAT, 0600, NULL), { close_if(result); mq_unlink("/new"); });
    mqd_t mq = mq_open("/queue", O_RDWR | O_CREAT, 0600, NULL);
    NEED(mq >= 0);
    TRY("mq_open again", , mq_open("/queue", O_RDONLY), close_if(result));
    TRY("mq_send", , mq_send(mq, text, 100, 1), if (result == 0) mq_receive(mq, text, sizeof text, NULL));
    TRY("mq_notify", , mq_notify(mq, &signal), if (result == 0) mq_notify(mq, NULL));
    NEED(mq_unlink("/queue") == 0 && mq_close(mq) == 0);
    TRY("open a terminal", , open("/dev/ptmx", O_RDWR | O_NOCTTY), close_if(result));
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "executed")) {
        // The count goes on in the program that is executed. If opening the file is what fails, nothing failed before.
        nth_file = open("/proc/thread-self/fail-nth", O_RDWR);
        return nth_file >= 0 && has_failed() ? EXECUTED_AFTER : EXECUTED_BEFORE;
    }
    int rounds = argc > 1 ? atoi(argv[1]) : 44;
    // Rounds until what is kept for later is there, and kilobytes that CPUs may keep beyond: less than a page in each round.
    const int warm = 4;
    const long slack = 128;
    enter_scratch();
    open_nth();
    read_tree("/proc");
    read_tree("/proc/self");
    read_tree("/sys");
    // The kernel keeps up to a megabyte of stacks for later, now more and now fewer: what is lost is lost each time.
    long lost = slack + 1;
    for (int time = 0; time < 3 && lost > slack; time++) {
        long before = free_memory();
        for (int round = time == 0 ? -warm : 0; round < rounds - warm; round++) {
            if (round == 0)
                before = free_memory();
            names();
            contents();
            descriptors();
            sockets();
            memory();
            shared_objects();
            programs("/proc/self/exe");
            signals();
        }
        lost = before - free_memory();
    }
    CHECK(dup(0) == nth_file + 1);
    CHECK(trials > 40 * rounds && injected > trials);
    if (t_failures == 0)
        printf("every call fails and succeeds as it should\n");
    if (lost <= slack)
        printf("no memory is lost\n");
    else
        printf("FAILED %ld KB of memory are lost in %d rounds\n", lost, rounds - warm);
    DONE();
}
