// Descriptors in flight (SCM_RIGHTS) inside sockets in flight, in long chains and in circles. All of them are closed when
// nothing leads to them any more, and a user has only so many.
// machines: all
#include "net.h"
#include <sys/resource.h>

static int send_fd(int socket, int fd) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {"f", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return (int)sendmsg(socket, &m, MSG_DONTWAIT);
}

static int receive_fd(int socket) {
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(socket, &m, MSG_DONTWAIT) == 1 && CMSG_FIRSTHDR(&m))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

// True once the other end of the pipe is closed.
static bool is_closed(int end) {
    char byte;
    return read(end, &byte, 1) == 0;
}

// True if the other end of the pipe is closed within some time. Linux 6.18 looks for circles when a socket is closed, and
// may miss one whose last socket is being closed just then, until another is closed.
static bool closes_in_time(int end) {
    NEED(fcntl(end, F_SETFL, O_NONBLOCK) == 0);
    for (int tries = 0; tries < 2000; tries++) {
        if (is_closed(end))
            return true;
        int s[2];
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        close(s[0]), close(s[1]);
        usleep(1000);
    }
    return false;
}

// Each pair lies in the queue of the next, and a pipe's end in that of the first.
static void chain(int length, int kind) {
    int pipe_ends[2], last[2], next[2];
    NEED(pipe(pipe_ends) == 0);
    NEED(socketpair(AF_UNIX, kind, 0, last) == 0);
    NEED(send_fd(last[0], pipe_ends[1]) == 1);
    close(pipe_ends[1]);
    for (int i = 1; i < length; i++) {
        NEED(socketpair(AF_UNIX, kind, 0, next) == 0);
        NEED(send_fd(next[0], last[0]) == 1);
        NEED(send_fd(next[0], last[1]) == 1);
        close(last[0]);
        close(last[1]);
        memcpy(last, next, sizeof last);
    }
    // The last but one comes out again whole.
    int a = receive_fd(last[1]), b = receive_fd(last[1]);
    SHOW(a >= 0 && b >= 0);
    SHOW(receive_fd(last[1]));
    close(last[0]);
    close(last[1]);
    close(a);
    close(b);
    SHOW(is_closed(pipe_ends[0]));
    close(pipe_ends[0]);
}

// Sockets that wait for accept, too, end with what lies in their queues.
static void through_listeners(void) {
    int pipe_ends[2], previous = -1;
    NEED(pipe(pipe_ends) == 0);
    for (int i = 0; i < 200; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "coracle-in-flight-%d-%d", getpid(), i);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
        NEED(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 5) == 0);
        NEED(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
        NEED(send_fd(client, previous < 0 ? pipe_ends[1] : previous) == 1);
        close(previous < 0 ? pipe_ends[1] : previous);
        close(client);
        previous = listener;
    }
    close(previous);
    SHOW(is_closed(pipe_ends[0]));
    close(pipe_ends[0]);
}

// Sockets that lie in their own queue, and in that of their peer. Linux closes them a moment after nothing leads to them.
static void circles(int rounds) {
    int ends[rounds];
    for (int i = 0; i < rounds; i++) {
        int s[2], t[2], pipe_ends[2];
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, t) == 0);
        NEED(pipe(pipe_ends) == 0);
        NEED(send_fd(s[0], s[1]) == 1 && send_fd(s[1], s[0]) == 1);
        NEED(send_fd(s[0], t[0]) == 1 && send_fd(s[1], t[1]) == 1 && send_fd(t[0], s[0]) == 1);
        NEED(send_fd(t[1], pipe_ends[1]) == 1);
        ends[i] = pipe_ends[0];
        close(pipe_ends[1]);
        int kept = dup(t[0]);
        close(s[0]), close(s[1]), close(t[0]), close(t[1]);
        if (i % 50 == 0) {
            // One that is still open keeps what it leads to.
            int out = receive_fd(kept);
            NEED(out >= 0);
            NEED(write(out, "w", 1) == 1);
            char byte;
            NEED(read(ends[i], &byte, 1) == 1);
            close(out);
        }
        close(kept);
    }
    for (int i = 0; i < rounds; i++) {
        NEED(closes_in_time(ends[i]));
        close(ends[i]);
    }
    SHOW(rounds);
}

// Whether limits of users hold for the program: not with CAP_SYS_RESOURCE or CAP_SYS_ADMIN, which root may lack.
static bool is_limited(void) {
    enum { CAP_SYS_ADMIN = 21, CAP_SYS_RESOURCE = 24 };
    char line[256];
    unsigned long long effective = 0;
    FILE *status = fopen("/proc/self/status", "r");
    NEED(status != NULL);
    while (fgets(line, sizeof line, status))
        sscanf(line, "CapEff: %llx", &effective);
    fclose(status);
    return !(effective & (1ULL << CAP_SYS_ADMIN | 1ULL << CAP_SYS_RESOURCE));
}

static void limit(void) {
    struct rlimit files = {32, 32};
    int s[2];
    bool unlimited = !is_limited();
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    NEED(setrlimit(RLIMIT_NOFILE, &files) == 0);
    int privileged = 0;
    while (privileged < 50 && send_fd(s[0], 0) == 1)
        privileged++;
    SHOW(unlimited ? privileged == 50 : privileged < 50);
    while (receive_fd(s[1]) >= 0 || errno == EMFILE)
        for (int fd = 16; fd < 32; fd++)
            close(fd);
    NEED(setgid(64123) == 0 && setuid(64123) == 0);
    int sent = 0;
    errno = 0;
    while (sent < 50 && send_fd(s[0], 0) == 1)
        sent++;
    int error = errno;
    SHOW(sent);
    SHOW(error == ETOOMANYREFS);
    SHOW(send(s[0], "x", 1, 0));
    int fd = receive_fd(s[1]);
    SHOW(fd >= 0);
    close(fd);
    SHOW(send_fd(s[0], 0));
    error = send_fd(s[0], 0) == -1 ? errno : 0;
    SHOW(error == ETOOMANYREFS);
}

int main(void) {
    chain(3000, SOCK_STREAM);
    chain(3000, SOCK_SEQPACKET);
    through_listeners();
    circles(500);
    limit();
    DONE();
}
