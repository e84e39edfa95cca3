// shutdown(2) and connect(2) to AF_UNSPEC of UDP sockets, while threads wait for them: without a peer the shutdown fails, but takes
// effect all the same.
// machines: all
#include "waiters.h"

static void make_new(int fd[2]) {
    fd[0] = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd[0] >= 0);
}

static void make_bound(int fd[2]) { fd[0] = udp_socket(); }

static void make_connected(int fd[2]) {
    fd[0] = udp_socket(), fd[1] = udp_socket();
    struct sockaddr_in a = local_address(fd[0]), b = local_address(fd[1]);
    NEED(connect(fd[0], ADDR(b)) == 0 && connect(fd[1], ADDR(a)) == 0);
}

static void make_with_data(int fd[2]) {
    make_connected(fd);
    NEED(send(fd[1], "abc", 3, 0) == 3);
    NEED(events_of(fd[0], POLLIN, 60000));
}

static int sink;
static void connect_again(int fd) {
    char byte;
    struct sockaddr_in to = local_address(sink);
    show_result("connect", connect(fd, ADDR(to)));
    show_state(fd);
    show_result("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
    show_result("send", send(fd, "x", 1, MSG_NOSIGNAL));
}

static const char *port_of(int fd) { return local_address(fd).sin_port ? "a port" : "no port"; }
static const char *address_of(int fd) { return local_address(fd).sin_addr.s_addr ? "an address" : "no address"; }

// What the program has not chosen itself goes with the peer.
static void unconnect(const char *what, in_addr_t address, bool with_port) {
    int s = socket(AF_INET, SOCK_DGRAM, 0), other = udp_socket();
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)}, none = {.sin_family = AF_UNSPEC};
    if (with_port) {
        int free_port = udp_socket();
        a.sin_port = local_address(free_port).sin_port;
        close(free_port);
    }
    NEED(bind(s, ADDR(a)) == 0);
    struct sockaddr_in to = local_address(other);
    NEED(connect(s, ADDR(to)) == 0);
    NEED(connect(s, ADDR(none)) == 0);
    printf("%s: %s, %s after it", what, address_of(s), port_of(s));
    show_result("bind", bind(s, ADDR(none)));
    show_result("sendto", sendto(s, "x", 1, 0, ADDR(to)));
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    char byte;
    show_result("received", recvfrom(other, &byte, 1, 0, (struct sockaddr *)&from, &length));
    printf(" from its port: %d\n", from.sin_port == local_address(s).sin_port);
    close(s), close(other);
}

// Datagrams that come after the shutdown are there for those that look.
static void late_data(void) {
    int fd[2];
    char bytes[8];
    make_connected(fd);
    SHOW(shutdown(fd[0], SHUT_RDWR));
    SHOW(send(fd[1], "late", 4, 0));
    WAIT_UNTIL(recv(fd[0], bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK) == 4);
    SHOW(recv(fd[0], bytes, sizeof bytes, 0));
    SHOW(recv(fd[0], bytes, sizeof bytes, 0));
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    SHOW(recvfrom(fd[0], bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length));
    SHOW(length);
    SHOW(send(fd[0], "x", 1, MSG_NOSIGNAL));
    close(fd[0]), close(fd[1]);
}

int main(void) {
    sink = udp_socket();
    unsigned calls = WATCHERS | RECEIVERS, all = EVENT(EVENTS) - 1;
    const struct scene scenes[] = {
        {"new", make_new, calls, OWN_EVENTS},
        {"bound", make_bound, CALL(NO_CALL) | CALL(RECV), OWN_EVENTS},
        {"connected", make_connected, calls, all},
        {"with data", make_with_data, WATCHERS, OWN_EVENTS},
    };
    try_all(scenes, sizeof scenes / sizeof *scenes, connect_again);
    late_data();
    unconnect("neither chosen", INADDR_ANY, false);
    unconnect("address chosen", INADDR_LOOPBACK, false);
    unconnect("port chosen", INADDR_ANY, true);
    unconnect("both chosen", INADDR_LOOPBACK, true);
    DONE();
}
