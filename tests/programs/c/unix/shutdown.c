// shutdown(2), close(2) and connect(2) to AF_UNSPEC of Unix sockets of all kinds and states, and of their peers, while threads wait for
// them. poll(2) for room at a datagram socket is woken when its receiver reads, shuts down or closes.
// machines: all
#include "waiters.h"

static int kind;

static int new_socket(void) {
    int fd = socket(AF_UNIX, kind, 0);
    NEED(fd >= 0);
    return fd;
}

// Linux chooses an abstract name.
static int bound_socket(void) {
    int fd = new_socket();
    struct sockaddr_un none = {.sun_family = AF_UNIX};
    NEED(bind(fd, (struct sockaddr *)&none, sizeof none.sun_family) == 0);
    return fd;
}

static int connect_socket(int fd, int to) {
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    NEED(getsockname(to, (struct sockaddr *)&name, &length) == 0);
    return connect(fd, (struct sockaddr *)&name, length);
}

static void make_new(int fd[2]) { fd[0] = new_socket(); }

static void make_listener(int fd[2]) {
    fd[0] = bound_socket();
    NEED(listen(fd[0], 3) == 0);
}

static void make_pair(int fd[2]) { NEED(socketpair(AF_UNIX, kind, 0, fd) == 0); }

static void make_pair_with_data(int fd[2]) {
    make_pair(fd);
    NEED(send(fd[1], "abc", 3, 0) == 3);
}

static void make_one_way(int fd[2]) {
    fd[0] = bound_socket(), fd[1] = bound_socket();
    NEED(connect_socket(fd[0], fd[1]) == 0);
}

static int listener;
static void use_again(int fd) {
    if (kind == SOCK_DGRAM)
        return;
    char byte;
    show_result("connect", connect_socket(fd, listener));
    show_state(fd);
    show_result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
    show_result("send", send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
    int client = new_socket();
    NEED(fcntl(client, F_SETFL, O_NONBLOCK) == 0);
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    NEED(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    if (length > sizeof name.sun_family)
        show_result("be connected", connect_socket(client, fd));
    close(client);
    NEED(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    close(accept(listener, NULL, NULL));
    NEED(fcntl(listener, F_SETFL, 0) == 0);
}

static void try_kind(int of_kind, const char *name) {
    printf("== %s\n", name);
    kind = of_kind;
    unsigned peers = EVENT(PEER_SHUT_READ) | EVENT(PEER_SHUT_WRITE) | EVENT(PEER_SHUT_BOTH) | EVENT(PEER_CLOSE);
    if (kind != SOCK_DGRAM) {
        listener = bound_socket();
        NEED(listen(listener, 8) == 0);
        const struct scene scenes[] = {
            {"new", make_new, WATCHERS, OWN_EVENTS},
            {"listener", make_listener, WATCHERS | CALL(ACCEPT), OWN_EVENTS},
            {"pair", make_pair, WATCHERS | RECEIVERS, OWN_EVENTS | peers | EVENT(PEER_SEND)},
            {"with data", make_pair_with_data, CALL(NO_CALL) | CALL(POLL), OWN_EVENTS | peers},
        };
        try_all(scenes, sizeof scenes / sizeof *scenes, use_again);
        close(listener);
    } else {
        const struct scene scenes[] = {
            {"new", make_new, WATCHERS | RECEIVERS, OWN_EVENTS},
            {"pair", make_pair, WATCHERS | RECEIVERS, OWN_EVENTS | peers | EVENT(PEER_SEND)},
            {"one way", make_one_way, WATCHERS | CALL(RECV), OWN_EVENTS | peers},
            {"with data", make_pair_with_data, CALL(NO_CALL) | CALL(POLL), OWN_EVENTS | peers},
        };
        try_all(scenes, sizeof scenes / sizeof *scenes, use_again);
    }
    if (kind == SOCK_STREAM) {
        const struct scene sender = {"pair", make_pair, CALL(MUCH), (OWN_EVENTS & ~EVENT(UNCONNECT)) | peers};
        try_all(&sender, 1, NULL);
    }
}

// A listener that is shut down still gives what came before.
static void listener_with_connections(void) {
    kind = SOCK_STREAM;
    int fd[2], client = new_socket();
    make_listener(fd);
    NEED(connect_socket(client, fd[0]) == 0);
    SHOW(shutdown(fd[0], SHUT_RDWR));
    SHOW(accept(fd[0], NULL, NULL) >= 0);
    SHOW(accept(fd[0], NULL, NULL));
    close(client), close(fd[0]);
}

static void fill(int fd) {
    static char bytes[2048];
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    NEED(errno == EAGAIN);
}

static void read_all_of_it(int fd) {
    static char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

// What waits for room is woken by what makes some.
static void wait_for_room(int of_kind, const char *name) {
    kind = of_kind;
    for (enum call call = POLL; call <= EDGE; call++)
        for (int way = 0; way < 3; way++) {
            // A datagram socket that was shut down keeps what it holds, and there is no room.
            if (way == 2 && kind == SOCK_DGRAM)
                continue;
            int fd[2];
            make_pair(fd);
            fill(fd[0]);
            printf("%s, full, %s, %s:", name, call_names[call], way == 0 ? "read" : way == 1 ? "closed" : "shut");
            pthread_t thread = start_waiter(call, fd[0]);
            if (way == 0)
                read_all_of_it(fd[1]);
            else if (way == 1)
                close(fd[1]);
            else
                shutdown(fd[1], SHUT_RDWR);
            WAIT_UNTIL(waiter.done);
            NEED(pthread_join(thread, NULL) == 0);
            printf(" -> %ld%s\n", waiter.result, waiter.bits & (POLLOUT | POLLHUP) ? "" : " without room");
            if (call == EDGE)
                close(waiter.set);
            close(fd[0]);
            if (way != 1)
                close(fd[1]);
        }
}

// A datagram socket with a peer hears that alone, and loses what it has received when it gives it up.
static void datagrams(void) {
    kind = SOCK_DGRAM;
    int a = bound_socket(), b = bound_socket(), c = new_socket(), pair[2];
    struct sockaddr_un none = {.sun_family = AF_UNSPEC};
    char byte;
    SHOW(connect_socket(a, b));
    SHOW(connect_socket(c, a));
    SHOW(connect(a, (struct sockaddr *)&none, sizeof none));
    SHOW(connect_socket(c, a));
    make_pair(pair);
    NEED(send(pair[1], "x", 1, 0) == 1);
    SHOW(connect(pair[0], (struct sockaddr *)&none, sizeof none));
    SHOW(recv(pair[0], &byte, 1, MSG_DONTWAIT));
    SHOW(recv(pair[1], &byte, 1, MSG_DONTWAIT));
    SHOW(recv(pair[1], &byte, 1, MSG_DONTWAIT));
    close(a), close(b), close(c), close(pair[0]), close(pair[1]);
}

int main(void) {
    try_kind(SOCK_STREAM, "stream");
    try_kind(SOCK_SEQPACKET, "packets");
    try_kind(SOCK_DGRAM, "datagrams");
    listener_with_connections();
    wait_for_room(SOCK_STREAM, "stream");
    wait_for_room(SOCK_SEQPACKET, "packets");
    wait_for_room(SOCK_DGRAM, "datagrams");
    datagrams();
    DONE();
}
