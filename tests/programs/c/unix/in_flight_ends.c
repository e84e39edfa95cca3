// Sockets in flight that nothing leads to any more, whatever ended last: a descriptor, a call that used one, the message of
// another socket, a process. Each has the end of a pipe in its queue, and the other end hears that it was closed.
// machines: all
#include "net.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static bool send_fds(int socket, const int *fds, int count) {
    char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec v = {"f", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
    m.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    return sendmsg(socket, &m, MSG_DONTWAIT) == 1;
}

static bool send_fd(int socket, int fd) { return send_fds(socket, &fd, 1); }

static int receive_fd(int socket, size_t room) {
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    int fd = -1;
    NEED(recvmsg(socket, &m, MSG_DONTWAIT) == 1);
    if (CMSG_FIRSTHDR(&m))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    return fd;
}

// True if the other end of the pipe is closed; Linux may close it when another socket is closed.
static bool ends(int end) {
    char byte;
    NEED(fcntl(end, F_SETFL, O_NONBLOCK) == 0);
    for (int tries = 0; tries < 5000; tries++) {
        if (read(end, &byte, 1) == 0)
            return close(end) == 0;
        int s[2];
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        close(s[0]), close(s[1]);
        usleep(1000);
    }
    return false;
}

static bool is_open(int end) {
    struct pollfd p = {.fd = end, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

// A pair that lies in the queues of one another, with the end of a pipe in one; returns the other end.
static int circle(int s[2]) {
    int end[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(end) == 0);
    NEED(send_fd(s[0], s[0]) && send_fd(s[1], s[1]) && send_fd(s[1], end[1]));
    close(end[1]);
    return end[0];
}

// A ring, each in the queue of the next.
static void rings(int length) {
    int s[length][2], end[2];
    NEED(pipe(end) == 0);
    for (int i = 0; i < length; i++)
        NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, s[i]) == 0);
    for (int i = 0; i < length; i++)
        NEED(send_fd(s[(i + 1) % length][0], s[i][1]));
    NEED(send_fd(s[length / 2][0], end[1]));
    close(end[1]);
    for (int i = 0; i < length; i++)
        close(s[i][0]);
    for (int i = 1; i < length; i++)
        close(s[i][1]);
    SHOW(is_open(end[0]));
    close(s[0][1]);
    SHOW(ends(end[0]));
}

// Every socket in the queue of every other.
static void all_in_all(int count) {
    int s[count][2], end[2];
    NEED(pipe(end) == 0);
    for (int i = 0; i < count; i++)
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s[i]) == 0);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            NEED(send_fd(s[i][0], s[j][1]));
    NEED(send_fd(s[0][0], end[1]));
    close(end[1]);
    for (int i = 0; i < count; i++)
        close(s[i][0]);
    for (int i = 1; i < count; i++)
        close(s[i][1]);
    SHOW(is_open(end[0]));
    close(s[0][1]);
    SHOW(ends(end[0]));
}

// The circle hangs on a message in the queue of another socket, which is closed.
static void by_a_message(void) {
    int s[2], other[2], end = circle(s);
    NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other) == 0);
    NEED(send_fds(other[0], s, 2));
    close(s[0]), close(s[1]);
    SHOW(is_open(end));
    close(other[0]), close(other[1]);
    SHOW(ends(end));
}

// It arrives where there is no room for its descriptor.
static void by_a_lost_arrival(void) {
    int s[2], other[2], end = circle(s);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, other) == 0);
    NEED(send_fds(other[0], s, 2));
    close(s[0]), close(s[1]);
    SHOW(receive_fd(other[1], 0));
    SHOW(ends(end));
    close(other[0]), close(other[1]);
}

struct call {
    int fd;
    pid_t tid;
    long result;
};

static void *sends(void *argument) {
    struct call *call = argument;
    __atomic_store_n(&call->tid, gettid(), __ATOMIC_SEQ_CST);
    call->result = send(call->fd, "x", 1, 0);
    return NULL;
}

static void *polls(void *argument) {
    struct call *call = argument;
    struct pollfd p[2] = {{.fd = call->fd, .events = POLLPRI}, {.fd = (int)call->result, .events = POLLIN}};
    __atomic_store_n(&call->tid, gettid(), __ATOMIC_SEQ_CST);
    call->result = poll(p, 2, -1);
    return NULL;
}

// A thread waits for room to send from a socket that is closed.
static void by_a_send(void) {
    int s[2], end[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(end) == 0);
    NEED(send_fd(s[0], s[1]) && send_fd(s[0], end[1]));
    close(end[1]);
    while (send(s[1], "0123456789", 10, MSG_DONTWAIT) > 0) {
    }
    struct call call = {.fd = s[1]};
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, sends, &call) == 0);
    WAIT_UNTIL(__atomic_load_n(&call.tid, __ATOMIC_SEQ_CST) != 0);
    wait_until_asleep(call.tid);
    close(s[1]);
    SHOW(is_open(end[0]));
    char bytes[1000];
    while (recv(s[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    NEED(pthread_join(thread, NULL) == 0);
    SHOW(call.result);
    SHOW(ends(end[0]));
    close(s[0]);
}

// A thread polls it.
static void by_a_poll(void) {
    int s[2], wake[2], end = circle(s);
    NEED(pipe(wake) == 0);
    struct call call = {.fd = s[1], .result = wake[0]};
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, polls, &call) == 0);
    WAIT_UNTIL(__atomic_load_n(&call.tid, __ATOMIC_SEQ_CST) != 0);
    wait_until_asleep(call.tid);
    int kept = dup(s[1]);
    close(s[0]), close(s[1]);
    close(kept);
    NEED(write(wake[1], "w", 1) == 1);
    NEED(pthread_join(thread, NULL) == 0);
    SHOW(ends(end));
    close(wake[0]), close(wake[1]);
}

// Its process ends, or executes a program.
static void by_a_process(bool executes) {
    int s[2], ready[2];
    NEED(pipe(ready) == 0);
    int end = circle(s);
    for (int i = 0; i < 2; i++)
        NEED(fcntl(s[i], F_SETFD, FD_CLOEXEC) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        char byte;
        read(ready[0], &byte, 1);
        if (executes)
            execl("/proc/self/exe", "program", "end", NULL);
        _exit(0);
    }
    close(s[0]), close(s[1]);
    SHOW(is_open(end));
    NEED(write(ready[1], "r", 1) == 1);
    SHOW(ends(end));
    NEED(waitpid(child, NULL, 0) == child);
    close(ready[0]), close(ready[1]);
}

// A connection that was not accepted yet has its listener in its queue.
static void by_a_listener(bool accepted) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "coracle-in-flight-ends-%d", getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0), end[2];
    NEED(bind(listener, ADDR(address)) == 0 && listen(listener, 5) == 0 && pipe(end) == 0);
    NEED(connect(client, ADDR(address)) == 0);
    NEED(send_fd(client, listener) && send_fd(client, end[1]));
    close(end[1]);
    int server = accepted ? accept(listener, NULL, NULL) : -1;
    close(listener);
    if (accepted) {
        // The listener is still reached by way of the connection.
        SHOW(is_open(end[0]));
        int again = receive_fd(server, CMSG_SPACE(sizeof(int)));
        NEED(again >= 0 && fcntl(again, F_SETFL, O_NONBLOCK) == 0);
        SHOW(accept(again, NULL, NULL) == -1 && errno == EAGAIN);
        close(again);
        close(server);
    }
    SHOW(ends(end[0]));
    close(client);
}

// Bytes that came with descriptors are the last of a receive.
static void borders(void) {
    int s[2];
    char bytes[10];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    NEED(send_fd(s[0], s[0]));
    SHOW(send(s[0], "more", 4, 0));
    SHOW(recv(s[1], bytes, sizeof bytes, MSG_PEEK));
    SHOW(recv(s[1], bytes, sizeof bytes, 0));
    SHOW(recv(s[1], bytes, sizeof bytes, 0));
    close(s[0]), close(s[1]);
}

int main(int argc, char **argv) {
    if (argc > 1)
        return strcmp(argv[1], "end") != 0;
    rings(2);
    rings(450);
    all_in_all(30);
    by_a_message();
    by_a_lost_arrival();
    by_a_send();
    by_a_poll();
    by_a_process(false);
    by_a_process(true);
    by_a_listener(false);
    by_a_listener(true);
    borders();
    DONE();
}
