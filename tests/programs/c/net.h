// What the network test programs share: addresses of the loopback, listeners and pairs of connected sockets.
#ifndef NET_H
#define NET_H

#include "t.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

// 127.0.0.1 with a port (0: any).
__attribute__((unused)) static struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

#define ADDR(a) ((struct sockaddr *)&(a)), sizeof(a)

// The local address of a socket.
__attribute__((unused)) static struct sockaddr_in local_address(int fd) {
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    NEED(getsockname(fd, (struct sockaddr *)&a, &length) == 0);
    return a;
}

// A listening TCP socket on a port of the kernel's choice.
__attribute__((unused)) static int tcp_listener(int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd >= 0);
    struct sockaddr_in a = loopback(0);
    NEED(bind(fd, ADDR(a)) == 0);
    NEED(listen(fd, backlog) == 0);
    return fd;
}

// A new connection to a listener's address.
__attribute__((unused)) static int tcp_connect(int listener) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fd >= 0);
    struct sockaddr_in a = local_address(listener);
    NEED(connect(fd, ADDR(a)) == 0);
    return fd;
}

// Two connected TCP sockets: [0] the client's end, [1] the server's.
__attribute__((unused)) static void tcp_pair(int fd[2]) {
    int listener = tcp_listener(1);
    fd[0] = tcp_connect(listener);
    fd[1] = accept(listener, NULL, NULL);
    NEED(fd[1] >= 0);
    NEED(close(listener) == 0);
}

// A UDP socket bound to the loopback.
__attribute__((unused)) static int udp_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(fd >= 0);
    struct sockaddr_in a = loopback(0);
    NEED(bind(fd, ADDR(a)) == 0);
    return fd;
}

// What poll says of one descriptor, within a time; 0 for nothing.
__attribute__((unused)) static int events_of(int fd, int wanted, int timeout_ms) {
    struct pollfd p = {.fd = fd, .events = (short)wanted};
    NEED(poll(&p, 1, timeout_ms) >= 0);
    return p.revents;
}

// Writes all of it.
__attribute__((unused)) static void write_all(int fd, const void *data, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t n = write(fd, (const char *)data + done, length - done);
        NEED(n > 0);
        done += (size_t)n;
    }
}

// Reads exactly this many bytes, or up to the end; returns how many.
__attribute__((unused)) static size_t read_all(int fd, void *data, size_t length) {
    size_t done = 0;
    while (done < length) {
        ssize_t n = read(fd, (char *)data + done, length - done);
        NEED(n >= 0);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return done;
}

#endif
