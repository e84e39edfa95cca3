// shutdown(2), close(2) and connect(2) to AF_UNSPEC of TCP sockets in all their states, and of their peers, while threads wait for them.
// machines: all
#include "waiters.h"

static void make_new(int fd[2]) {
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd[0] >= 0);
}

static void make_bound(int fd[2]) {
    make_new(fd);
    struct sockaddr_in a = loopback(0);
    NEED(bind(fd[0], ADDR(a)) == 0);
}

static void make_listener(int fd[2]) { fd[0] = tcp_listener(3); }

// The listener's queue is full, so the attempt is not answered.
static void make_attempt(int fd[2]) {
    static int full = -1;
    if (full < 0) {
        full = tcp_listener(0);
        int first = tcp_connect(full);
        NEED(events_of(full, POLLIN, 60000) && events_of(first, POLLOUT, 60000));
    }
    make_new(fd);
    connect_to = local_address(full);
    NEED(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0);
    NEED(connect(fd[0], ADDR(connect_to)) == -1 && errno == EINPROGRESS);
    NEED(fcntl(fd[0], F_SETFL, 0) == 0);
}

static void make_pair(int fd[2]) { tcp_pair(fd); }

static void make_pair_with_data(int fd[2]) {
    tcp_pair(fd);
    write_all(fd[1], "abc", 3);
    NEED(events_of(fd[0], POLLIN, 60000));
}

static void make_ended_by_peer(int fd[2]) {
    tcp_pair(fd);
    NEED(shutdown(fd[1], SHUT_WR) == 0 && events_of(fd[0], POLLRDHUP, 60000));
}

static void make_ended(int fd[2]) {
    tcp_pair(fd);
    NEED(shutdown(fd[0], SHUT_WR) == 0 && events_of(fd[1], POLLRDHUP, 60000));
}

static int listener;
static void connect_again(int fd) {
    struct sockaddr_in to = local_address(listener);
    show_result("connect", connect(fd, ADDR(to)));
    if (errno == ENETUNREACH || errno == EISCONN)
        return;
    int server = accept(listener, NULL, NULL);
    char byte;
    show_state(fd);
    show_result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
    show_result("send", send(fd, "x", 1, MSG_NOSIGNAL));
    close(server);
}

// A connection that is over is one all the same, until the socket is disconnected.
static void after_the_end(void) {
    int fd[2];
    tcp_pair(fd);
    struct sockaddr_in to = local_address(listener), none = {.sin_family = AF_UNSPEC};
    NEED(shutdown(fd[0], SHUT_WR) == 0 && close(fd[1]) == 0 && events_of(fd[0], POLLHUP, 60000));
    SHOW(connect(fd[0], ADDR(to)));
    SHOW(shutdown(fd[0], SHUT_RDWR));
    SHOW(connect(fd[0], ADDR(none)));
    SHOW(connect(fd[0], ADDR(to)));
    SHOW(send(fd[0], "x", 1, 0));
    close(accept(listener, NULL, NULL)), close(fd[0]);
}

// Data for a socket of which both directions are shut down is answered with a reset.
static void data_after_both(void) {
    int fd[2];
    char byte;
    tcp_pair(fd);
    SHOW(shutdown(fd[0], SHUT_RDWR));
    NEED(events_of(fd[1], POLLRDHUP, 60000));
    SHOW(send(fd[1], "x", 1, MSG_NOSIGNAL));
    NEED(events_of(fd[1], POLLERR, 60000) && events_of(fd[0], POLLERR, 60000));
    show_state(fd[0]), show_state(fd[1]);
    puts("");
    SHOW(recv(fd[0], &byte, 1, MSG_DONTWAIT));
    SHOW(send(fd[1], "x", 1, MSG_NOSIGNAL));
    SHOW(recv(fd[1], &byte, 1, MSG_DONTWAIT));
    close(fd[0]), close(fd[1]);
}

// Of a reset connection the error stays when the socket is disconnected, and goes with a new connection.
static void error_stays(void) {
    int fd[2];
    tcp_pair(fd);
    struct linger linger = {1, 0};
    struct sockaddr_in to = local_address(listener), none = {.sin_family = AF_UNSPEC};
    NEED(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
    NEED(close(fd[1]) == 0 && events_of(fd[0], POLLERR, 60000));
    SHOW(connect(fd[0], ADDR(none)));
    show_state(fd[0]);
    puts("");
    SHOW(connect(fd[0], ADDR(to)));
    show_state(fd[0]);
    puts("");
    close(accept(listener, NULL, NULL)), close(fd[0]);
}

// A port that the program has not chosen is given back.
static void ports(void) {
    int s = tcp_listener(1), other;
    struct sockaddr_in none = {.sin_family = AF_UNSPEC}, a = local_address(s);
    NEED((other = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    SHOW(bind(other, ADDR(a)));
    SHOW(shutdown(s, SHUT_RD));
    SHOW(bind(other, ADDR(a)));
    close(s);
    s = other;
    NEED((other = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    SHOW(listen(s, 1));
    SHOW(connect(s, ADDR(none)));
    SHOW(bind(other, ADDR(a)));
    SHOW(listen(s, 1));
    close(s), close(other);
}

int main(void) {
    listener = tcp_listener(8);
    const unsigned own = OWN_EVENTS, peers = EVENT(PEER_SHUT_WRITE) | EVENT(PEER_CLOSE);
    const struct scene scenes[] = {
        {"new", make_new, WATCHERS, own},
        {"bound", make_bound, CALL(NO_CALL), own},
        {"listener", make_listener, WATCHERS | CALL(ACCEPT), own},
        {"attempt", make_attempt, WATCHERS | RECEIVERS | CALL(CONNECT) | CALL(MUCH), own & ~EVENT(SHUT_BADLY)},
        {"connected", make_pair, WATCHERS | RECEIVERS, own | peers | EVENT(PEER_SHUT_BOTH)},
        {"connected", make_pair, WATCHERS | CALL(RECV) | CALL(PEEK), EVENT(PEER_SEND)},
        {"connected", make_pair, CALL(MUCH), own | EVENT(PEER_CLOSE)},
        {"with data", make_pair_with_data, WATCHERS | CALL(ALL), own | peers},
        {"ended by peer", make_ended_by_peer, WATCHERS, own},
        {"ended", make_ended, CALL(NO_CALL) | CALL(POLL) | RECEIVERS, own | peers},
    };
    try_all(scenes, sizeof scenes / sizeof *scenes, connect_again);
    after_the_end();
    data_after_both();
    error_stays();
    ports();
    DONE();
}
