// Connections by AF_VSOCK within a machine (vsock(7), CID 1): streams and messages, their ends, their credit, and those who wait for them.
// linux: no
// machines: all
#include "vsock.h"

static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

static void names_of_ends(int type) {
    unsigned port;
    int listener = vm_listener(type, 2, &port), client = vm_socket(type);
    CHECK(vm_bind(client, VMADDR_CID_LOCAL, VMADDR_PORT_ANY) == 0);
    CHECK(vm_connect(client, VMADDR_CID_LOCAL, port) == 0);
    FAILS(vm_connect(client, VMADDR_CID_LOCAL, port), EISCONN);
    struct sockaddr_vm peer;
    socklen_t length = sizeof peer;
    CHECK(events_of(listener, POLLIN, 60000) == POLLIN);
    int server = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
    CHECK(server >= 0 && fcntl(server, F_GETFD) == FD_CLOEXEC);
    CHECK(length == sizeof peer && peer.svm_family == AF_VSOCK && peer.svm_cid == VMADDR_CID_LOCAL);
    CHECK(peer.svm_port == vm_name(client).svm_port);
    CHECK(vm_name(server).svm_cid == VMADDR_CID_LOCAL && vm_name(server).svm_port == port);
    CHECK(getpeername(client, (struct sockaddr *)&peer, &length) == 0);
    CHECK(peer.svm_cid == VMADDR_CID_LOCAL && peer.svm_port == port);
    FAILS(sendto(client, "x", 1, 0, ADDR(peer)), EISCONN);
    close(listener);
    CHECK(write(client, "after", 5) == 5);
    char text[8] = "";
    CHECK(read(server, text, sizeof text) == 5 && !strcmp(text, "after"));
    close(client);
    CHECK(read(server, text, sizeof text) == 0);
    close(server);
    // The port of a listener that is gone leads nowhere.
    client = vm_socket(type);
    FAILS(vm_connect(client, VMADDR_CID_LOCAL, port), ECONNRESET);
    close(client);
}

static void refusals(int type) {
    unsigned port;
    int listener = vm_listener(type, 0, &port), first = vm_socket(type), second = vm_socket(type);
    int other = vm_socket(type == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM);
    FAILS(vm_connect(other, VMADDR_CID_LOCAL, port), ECONNRESET);
    CHECK(vm_connect(first, VMADDR_CID_LOCAL, port) == 0);
    FAILS(vm_connect(second, VMADDR_CID_LOCAL, port), ECONNRESET);
    // Those in the queue of a listener that is closed are closed, too.
    close(listener);
    char byte;
    CHECK(recv(first, &byte, 1, 0) == 0);
    close(first);
    close(second);
    close(other);
}

static void ends(int type) {
    int fd[2];
    char text[16];
    struct sockaddr_vm peer;
    socklen_t length = sizeof peer;
    vm_pair(type, fd);
    CHECK(events_of(fd[0], POLLIN | POLLOUT | POLLRDHUP, 0) == POLLOUT);
    CHECK(write(fd[0], "last", 4) == 4);
    CHECK(shutdown(fd[0], SHUT_WR) == 0);
    FAILS(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(getpeername(fd[0], (struct sockaddr *)&peer, &length), ENOTCONN);
    CHECK(events_of(fd[1], POLLIN | POLLOUT | POLLRDHUP, 0) == (POLLIN | POLLOUT | POLLRDHUP));
    CHECK(read(fd[1], text, sizeof text) == 4);
    CHECK(read(fd[1], text, sizeof text) == 0);
    CHECK(write(fd[1], "answer", 6) == 6);
    CHECK(read(fd[0], text, sizeof text) == 6);
    CHECK(shutdown(fd[1], SHUT_WR) == 0);
    CHECK(read(fd[0], text, sizeof text) == 0);
    CHECK(events_of(fd[0], POLLIN, 0) == (POLLIN | POLLHUP));
    vm_close(fd);
    vm_pair(type, fd);
    CHECK(shutdown(fd[0], SHUT_RD) == 0);
    CHECK(read(fd[0], text, sizeof text) == 0);
    FAILS(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    vm_close(fd);
    // What was sent before the end is read after it.
    vm_pair(type, fd);
    CHECK(write(fd[0], "kept", 4) == 4);
    close(fd[0]);
    CHECK(read(fd[1], text, sizeof text) == 4 && !memcmp(text, "kept", 4));
    CHECK(read(fd[1], text, sizeof text) == 0);
    FAILS(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(fd[1]);
}

static void ways_to_receive(void) {
    int fd[2];
    char text[32] = "";
    vm_pair(SOCK_STREAM, fd);
    FAILS(recv(fd[1], text, 4, MSG_DONTWAIT), EAGAIN);
    CHECK(send(fd[0], "first", 5, 0) == 5 && send(fd[0], "second", 6, MSG_MORE) == 6);
    int waiting = 0;
    CHECK(recv(fd[1], text, 3, MSG_PEEK) == 3 && !memcmp(text, "fir", 3));
    CHECK(recv(fd[1], text, sizeof text, 0) == 11 && !memcmp(text, "firstsecond", 11));
    FAILS(recv(fd[1], text, 4, MSG_OOB), EOPNOTSUPP);
    FAILS(send(fd[1], text, 4, MSG_OOB), EOPNOTSUPP);
    FAILS(send(fd[0], NULL, 4, 0), EFAULT);
    CHECK(send(fd[0], "abcd", 4, 0) == 4 && ioctl(fd[1], FIONREAD, &waiting) == 0 && waiting == 4);
    FAILS(recv(fd[1], NULL, 4, 0), EFAULT);
    CHECK(recv(fd[1], text, 4, MSG_WAITALL) == 4 && !memcmp(text, "abcd", 4));
    struct timeval soon = {.tv_usec = 1000};
    CHECK(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
    FAILS(recv(fd[1], text, 4, 0), EAGAIN);
    vm_close(fd);

    vm_pair(SOCK_SEQPACKET, fd);
    struct iovec piece = {text, 3};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    CHECK(send(fd[0], "first", 5, 0) == 5 && send(fd[0], "second", 6, MSG_EOR) == 6 && send(fd[0], "3", 1, 0) == 1);
    CHECK(send(fd[0], "", 0, 0) == 0);
    CHECK(recvmsg(fd[1], &message, MSG_PEEK) == 3 && message.msg_flags == MSG_TRUNC);
    CHECK(recvmsg(fd[1], &message, MSG_TRUNC) == 5 && message.msg_flags == MSG_TRUNC);
    piece.iov_len = 32;
    CHECK(recvmsg(fd[1], &message, 0) == 6 && message.msg_flags == MSG_EOR && !memcmp(text, "second", 6));
    CHECK(recv(fd[1], text, sizeof text, 0) == 1);
    FAILS(recv(fd[1], text, sizeof text, MSG_DONTWAIT), EAGAIN);
    // A message is no longer than what the other end keeps.
    size_t most = 256 << 10;
    char *much = calloc(1, most + 1), *got = calloc(1, most + 1);
    for (size_t at = 0; at < most; at++) much[at] = at * 7 >> 3;
    FAILS(send(fd[0], much, most + 1, 0), EMSGSIZE);
    CHECK(send(fd[0], much, most, 0) == (ssize_t)most);
    FAILS(send(fd[0], "x", 1, MSG_DONTWAIT), EAGAIN);
    CHECK(events_of(fd[0], POLLOUT, 0) == 0);
    CHECK(recv(fd[1], got, most + 1, 0) == (ssize_t)most && !memcmp(much, got, most));
    CHECK(events_of(fd[0], POLLOUT, 60000) == POLLOUT);
    CHECK(send(fd[0], much, most, MSG_DONTWAIT) == (ssize_t)most);
    free(much);
    free(got);
    vm_close(fd);
}

// A connection that is not waited for.
static void later(int type) {
    unsigned port;
    int listener = vm_listener(type, 1, &port), client = vm_socket(type | SOCK_NONBLOCK);
    int result = vm_connect(client, VMADDR_CID_LOCAL, port);
    CHECK(result == 0 || errno == EINPROGRESS);
    CHECK(events_of(client, POLLOUT, 60000) == POLLOUT);
    int error = -1;
    socklen_t length = sizeof error;
    CHECK(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
    close(client);
    close(listener);
}

// More than the credit, both ways, in pieces of all sizes; who reads is slower at times.
struct end {
    int fd;
    unsigned seed;
    bool is_stream;
};
enum { TOTAL = 3 << 20 };

static unsigned char byte_at(size_t at, unsigned seed) { return at * 31 + (at >> 11) + seed; }

static void *send_all(void *of) {
    struct end *end = of;
    static __thread unsigned char bytes[100000];
    unsigned size = end->seed;
    for (size_t at = 0; at < TOTAL;) {
        size = size * 1103515245 + 12345;
        size_t want = 1 + (size >> 16) % (size & 64 ? sizeof bytes : 700);
        if (want > TOTAL - at) want = TOTAL - at;
        for (size_t i = 0; i < want; i++) bytes[i] = byte_at(at + i, end->seed);
        ssize_t sent = send(end->fd, bytes, want, 0);
        CHECK(end->is_stream ? sent > 0 : sent == (ssize_t)want);
        if (sent <= 0) break;
        at += sent;
    }
    return NULL;
}

static void *receive_all(void *of) {
    struct end *end = of;
    static __thread unsigned char bytes[100000];
    size_t at = 0;
    bool same = true;
    while (at < TOTAL) {
        ssize_t got = recv(end->fd, bytes, sizeof bytes - (at % 5) * 20, 0);
        CHECK(got > 0);
        if (got <= 0) break;
        for (ssize_t i = 0; i < got; i++) same = same && bytes[i] == byte_at(at + i, end->seed ^ 1);
        at += got;
        if (at % 3 == 0) sched_yield();
    }
    CHECK(same && at == TOTAL);
    return NULL;
}

static void much(int type) {
    int fd[2];
    vm_pair(type, fd);
    struct end ends[2] = {{fd[0], 4, type == SOCK_STREAM}, {fd[1], 5, type == SOCK_STREAM}};
    pthread_t threads[4];
    for (int i = 0; i < 2; i++) {
        NEED(pthread_create(&threads[2 * i], NULL, send_all, &ends[i]) == 0);
        NEED(pthread_create(&threads[2 * i + 1], NULL, receive_all, &ends[i]) == 0);
    }
    for (int i = 0; i < 4; i++) NEED(pthread_join(threads[i], NULL) == 0);
    vm_close(fd);
}

// Edges: what fills and what empties a connection wakes the one who waits for it.
static void edges(void) {
    int fd[2], set = epoll_create1(0);
    vm_pair(SOCK_STREAM, fd);
    NEED(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(fd[1], F_SETFL, O_NONBLOCK) == 0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd[0]};
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &event) == 0);
    CHECK(epoll_wait(set, &event, 1, 0) == 1 && event.events == EPOLLOUT);
    static char bytes[65536];
    size_t sent = 0, got = 0;
    ssize_t n;
    while ((n = write(fd[0], bytes, sizeof bytes)) > 0) sent += n;
    CHECK(errno == EAGAIN && sent == 256 << 10);
    while ((n = read(fd[1], bytes, sizeof bytes)) > 0) got += n;
    CHECK(errno == EAGAIN && got == sent);
    CHECK(epoll_wait(set, &event, 1, 60000) == 1 && event.events == EPOLLOUT);
    CHECK(write(fd[1], "x", 1) == 1);
    CHECK(epoll_wait(set, &event, 1, 60000) == 1 && event.events == (EPOLLIN | EPOLLOUT));
    close(fd[1]);
    CHECK(epoll_wait(set, &event, 1, 60000) == 1 && (event.events & EPOLLRDHUP));
    close(fd[0]);
    close(set);
}

// A process that waits in accept(2), and one that goes without closing.
static void processes(void) {
    unsigned port;
    char byte;
    int listener = vm_listener(SOCK_STREAM, 8, &port);
    pid_t child = fork();
    if (child == 0) {
        int fd = accept(listener, NULL, NULL);
        _exit(fd >= 0 && write(fd, "c", 1) == 1 ? 0 : 1);
    }
    int client = vm_socket(SOCK_STREAM);
    CHECK(vm_connect(client, VMADDR_CID_LOCAL, port) == 0);
    CHECK(read(client, &byte, 1) == 1 && byte == 'c');
    CHECK(read(client, &byte, 1) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(client);
    close(listener);
}

int main(void) {
    for (int i = 0; i < 2; i++) {
        names_of_ends(types[i]);
        refusals(types[i]);
        ends(types[i]);
        later(types[i]);
        much(types[i]);
    }
    ways_to_receive();
    edges();
    processes();
    // So many that none may leave something behind.
    for (int i = 0; i < 3000; i++) {
        int fd[2];
        vm_pair(types[i % 2], fd);
        vm_close(fd);
    }
    DONE();
}
