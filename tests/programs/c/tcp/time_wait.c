// A port with connections, alive or in TIME_WAIT, can be bound again only by those that share it: SO_REUSEADDR on both
// sockets (socket(7), tcp(7)).
// machines: all
#include "net.h"

// A listening socket on `port`; -1 if the port can't be bound.
static int listener_on(uint16_t port, int reuse) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd >= 0);
    NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse) == 0);
    struct sockaddr_in a = loopback(port);
    if (bind(fd, ADDR(a)) || listen(fd, 5)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void try_to_listen(const char *when, uint16_t port) {
    for (int reuse = 0; reuse < 2; reuse++) {
        int fd = listener_on(port, reuse);
        printf("%s, %s: %s\n", when, reuse ? "shared" : "alone", fd >= 0 ? "listens" : t_errno(errno));
        close(fd);
    }
}

int main(void) {
    for (int reuse = 0; reuse < 2; reuse++) {
        printf("the first listener %s\n", reuse ? "shares" : "is alone");
        int l = listener_on(0, reuse);
        uint16_t port = ntohs(local_address(l).sin_port);
        int client = tcp_connect(l), server = accept(l, NULL, NULL);
        NEED(server >= 0);
        try_to_listen("while it listens", port);
        close(l);
        try_to_listen("beside a connection", port);
        // The server's end closes first, and waits.
        close(server);
        char byte;
        CHECK(read(client, &byte, 1) == 0);
        close(client);
        try_to_listen("beside TIME_WAIT", port);
    }
    // Of a connection that was reset nothing stays.
    int l = listener_on(0, 0);
    uint16_t port = ntohs(local_address(l).sin_port);
    int client = tcp_connect(l), server = accept(l, NULL, NULL);
    struct linger linger = {1, 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(client), close(server), close(l);
    try_to_listen("after a reset", port);
    // An outgoing connection keeps its port, and shares it with those to other peers.
    l = listener_on(0, 0);
    client = tcp_connect(l);
    try_to_listen("on a client's port", ntohs(local_address(client).sin_port));
    DONE();
}
