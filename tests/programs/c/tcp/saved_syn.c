// TCP_SAVE_SYN has a listener keep the headers of each connection's SYN, and TCP_SAVED_SYN reads them once (tcp(7),
// include/uapi/linux/tcp.h).
// machines: all
#include "net.h"

static int saved(int fd, unsigned char *headers, socklen_t room) {
    socklen_t size = room;
    int result = getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, headers, &size);
    return result == 0 ? (int)size : -1;
}

static void show_headers(const char *what, const unsigned char *ip, const struct sockaddr_in *from) {
    const unsigned char *tcp = ip + 4 * (ip[0] & 15);
    struct in_addr source, destination;
    memcpy(&source, ip + 12, 4);
    memcpy(&destination, ip + 16, 4);
    printf("%s: version %d, protocol %d, from %s", what, ip[0] >> 4, ip[9], inet_ntoa(source));
    printf(" to %s, flags %#x, its port %d\n", inet_ntoa(destination), tcp[13],
           memcmp(tcp, &from->sin_port, 2) == 0);
}

int main(void) {
    int listener = tcp_listener(4), one = 1, two = 2, three = 3, value = -1;
    socklen_t size = sizeof value;
    SHOW(getsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN, &value, &size));
    SHOW(value);
    unsigned char headers[256];
    int before = tcp_connect(listener);
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN, &three, sizeof three));
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof one));
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_SAVED_SYN, &one, sizeof one));
    int client = tcp_connect(listener);

    // The first came before the option was set.
    int early = accept(listener, NULL, NULL);
    NEED(early >= 0);
    SHOW(saved(early, headers, sizeof headers));

    struct sockaddr_in from;
    size = sizeof from;
    int fd = accept(listener, (struct sockaddr *)&from, &size);
    NEED(fd >= 0);
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &value, (size = sizeof value, &size)));
    SHOW(value);
    // Too little room: the length is told, and the headers stay.
    size = 4;
    SHOW(getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, headers, &size));
    CHECK(size >= 40 && size <= 120);
    int length = saved(fd, headers, sizeof headers);
    CHECK(length == (int)size);
    CHECK(length == 4 * (headers[0] & 15) + 4 * (headers[4 * (headers[0] & 15) + 12] >> 4));
    show_headers("SYN", headers, &from);
    SHOW(saved(fd, headers, sizeof headers));
    SHOW(saved(client, headers, sizeof headers));

    // With the header of the link before them.
    SHOW(setsockopt(listener, IPPROTO_TCP, TCP_SAVE_SYN, &two, sizeof two));
    int later = tcp_connect(listener);
    fd = accept(listener, (struct sockaddr *)&from, &size);
    NEED(fd >= 0);
    SHOW(saved(fd, headers, sizeof headers) == length + 14);
    SHOW(headers[12] << 8 | headers[13]);
    show_headers("frame", headers + 14, &from);
    NEED(close(before) == 0 && close(later) == 0);
    DONE();
}
