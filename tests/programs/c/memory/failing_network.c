// The n-th allocation that a call makes in the kernel fails, for every n, in calls on connections and datagrams: a call fails
// with an errno that Linux documents, or what was lost comes again. Streams stay whole.
// link: static
// memory: 128M
// fail-alloc: 0
// linux: no
// machines: all
// stdout-has: every call fails and succeeds as it should
#include "failing.h"
#include "../net.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>

#define PAGE 4096

static unsigned char sent[4 * PAGE], received[sizeof sent];

// Whether these bytes arrive, and are those that were sent.
static bool arrives(int fd, size_t length) {
    memset(received, 0, sizeof received);
    return recv(fd, received, length, MSG_WAITALL) == (ssize_t)length && memcmp(sent, received, length) == 0;
}

static long send_twice(int fd, size_t length) {
    ssize_t first = send(fd, sent, length, 0);
    ssize_t second = send(fd, sent + length, length, 0);
    return first == (ssize_t)length && second == (ssize_t)length ? 0 : -1;
}

static void connections(void) {
    int listener = tcp_listener(5), client = -1, pair[2];
    struct sockaddr_in address = local_address(listener);
    // A segment of the handshake that is lost comes again.
    TRY("connect", client = socket(AF_INET, SOCK_STREAM, 0), connect(client, ADDR(address)), {
        if (result == 0)
            CHECK(close(accept(listener, NULL, NULL)) == 0);
        close(client);
    });
    TRY("accept", client = tcp_connect(listener), accept(listener, NULL, NULL), {
        if (result >= 0)
            close(result);
        close(client);
        if (result < 0 && poll(&(struct pollfd){listener, POLLIN, 0}, 1, 0) == 1)
            close(accept(listener, NULL, NULL));
    });
    close(listener);

    tcp_pair(pair);
    TRY("send", , send(pair[0], sent, 3000, 0), CHECK(result < 0 || arrives(pair[1], result)));
    TRY("send behind other bytes", send(pair[0], sent, 1500, 0), send(pair[0], sent + 1500, 1500, 0),
        CHECK(arrives(pair[1], 1500 + (result > 0 ? result : 0))));
    // What the first loses, the second is out of order behind.
    TRY("send twice", , send_twice(pair[0], 1500), if (result == 0) CHECK(arrives(pair[1], 3000)); else {
        close(pair[0]);
        close(pair[1]);
        tcp_pair(pair);
    });
    TRY("send much", , send(pair[0], sent, sizeof sent, 0), CHECK(result < 0 || arrives(pair[1], result)));
    TRY("recv", send(pair[0], sent, 2000, 0), recv(pair[1], received, 2000, MSG_WAITALL),
        CHECK(result == 2000 || arrives(pair[1], 2000)));
    TRY("peek", send(pair[0], sent, 2000, 0), recv(pair[1], received, 2000, MSG_PEEK), CHECK(arrives(pair[1], 2000)));
    int level[][2] = {{SOL_SOCKET, SO_LINGER}, {IPPROTO_TCP, TCP_INFO}, {IPPROTO_TCP, TCP_CONGESTION},
                      {SOL_SOCKET, SO_RCVTIMEO}, {SOL_SOCKET, SO_RCVBUF}};
    for (size_t i = 0; i < sizeof level / sizeof level[0]; i++) {
        char value[256];
        socklen_t length;
        TRY("getsockopt", length = sizeof value, getsockopt(pair[0], level[i][0], level[i][1], value, &length), );
    }
    TRY("shutdown", { close(pair[0]); close(pair[1]); tcp_pair(pair); }, shutdown(pair[0], SHUT_WR),
        CHECK(recv(pair[1], received, 1, 0) == 0));
    TRY("close", { close(pair[1]); tcp_pair(pair); }, close(pair[0]), CHECK(recv(pair[1], received, 1, 0) == 0));
    close(pair[1]);
}

static void datagrams(void) {
    int fd = udp_socket();
    struct sockaddr_in own = local_address(fd);
    // A datagram may be lost, without an error; it is never cut.
    TRY("sendto", , sendto(fd, sent, sizeof sent, 0, ADDR(own)), {
        ssize_t length = recv(fd, received, sizeof received, MSG_DONTWAIT);
        CHECK(length == -1 || (length == sizeof sent && memcmp(sent, received, sizeof sent) == 0));
    });
    unsigned char *fresh = NULL;
    // The pages are not there yet when the datagram is copied to them.
    TRY("recv to fresh pages",
        {
            fresh = mmap(NULL, sizeof sent, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            NEED(sendto(fd, sent, sizeof sent, 0, ADDR(own)) == sizeof sent);
        },
        recv(fd, fresh, sizeof sent, 0), {
            CHECK(result == -1 || (result == sizeof sent && memcmp(fresh, sent, sizeof sent) == 0));
            munmap(fresh, sizeof sent);
        });
    close(fd);
}

// Asks for all objects of a kind, reads the answer twice, the first time by a peek. -1 where a call fails.
static long dump(int fd, int type) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof request, type, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    if (send(fd, &request, sizeof request, 0) == -1)
        return -1;
    for (;;) {
        ssize_t length = recv(fd, received, sizeof received, MSG_PEEK);
        if (length == -1 || recv(fd, received, sizeof received, 0) != length)
            return -1;
        int left = length;
        for (struct nlmsghdr *h = (void *)received; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
            if (h->nlmsg_type == NLMSG_DONE)
                return 0;
    }
}

static void tables(void) {
    int types[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE};
    for (int i = 0; i < 3; i++) {
        int fd = -1;
        TRY("a netlink dump", NEED((fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)) >= 0), dump(fd, types[i]), close(fd));
    }
    // Answers that are not read are bounded.
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct nlmsghdr request = {sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
    int count = 0;
    while (count < 100000 && send(fd, &request, sizeof request, 0) > 0)
        count++;
    CHECK(count > 0 && count < 100000 && errno == ENOBUFS);
    close(fd);
}

static void readiness(void) {
    enum { MEMBERS = 70 };
    int ends[MEMBERS], peers[MEMBERS], set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[MEMBERS];
    for (int i = 0; i < MEMBERS; i++) {
        int pair[2];
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        ends[i] = pair[0];
        peers[i] = pair[1];
        TRY("epoll_ctl", epoll_ctl(set, EPOLL_CTL_DEL, ends[i], NULL), epoll_ctl(set, EPOLL_CTL_ADD, ends[i], &event), );
    }
    // Some stay ready while others come.
    for (int i = 0; i < MEMBERS; i += 2)
        NEED(send(peers[i], "x", 1, 0) == 1);
    NEED(epoll_wait(set, events, MEMBERS, 0) == MEMBERS / 2);
    for (int i = 1; i < MEMBERS; i += 2)
        NEED(send(peers[i], "x", 1, 0) == 1);
    TRY("epoll_wait", , epoll_wait(set, events, MEMBERS, 0), CHECK(result == MEMBERS || result == -1));
    for (int i = 0; i < MEMBERS; i++) {
        close(ends[i]);
        close(peers[i]);
    }
    close(set);
}

int main(void) {
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = i * 7 + i / 256;
    open_nth();
    for (int round = 0; round < 2; round++) {
        connections();
        datagrams();
        tables();
        readiness();
    }
    CHECK(injected > 0);
    if (t_failures == 0)
        printf("every call fails and succeeds as it should\n");
    DONE();
}
