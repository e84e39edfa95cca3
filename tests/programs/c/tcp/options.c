// Socket options of SOL_SOCKET and IPPROTO_TCP: what is set is given back, sizes are checked.
#include "net.h"

static int get(int fd, int level, int option) {
    int v = -1;
    socklen_t length = sizeof v;
    return getsockopt(fd, level, option, &v, &length) ? -1 : v;
}
static int set(int fd, int level, int option, int v) { return setsockopt(fd, level, option, &v, sizeof v); }

int main(void) {
    int fd[2], l = tcp_listener(4);
    tcp_pair(fd);
    SHOW(get(fd[0], SOL_SOCKET, SO_TYPE));
    SHOW(get(fd[0], SOL_SOCKET, SO_DOMAIN));
    SHOW(get(fd[0], SOL_SOCKET, SO_PROTOCOL));
    SHOW(get(l, SOL_SOCKET, SO_ACCEPTCONN));
    SHOW(get(fd[0], SOL_SOCKET, SO_ACCEPTCONN));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_NODELAY));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_NODELAY, 1));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_NODELAY));
    SHOW(set(fd[0], SOL_SOCKET, SO_KEEPALIVE, 1));
    SHOW(get(fd[0], SOL_SOCKET, SO_KEEPALIVE));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_KEEPIDLE, 30));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_KEEPIDLE));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_KEEPINTVL, 5));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_KEEPINTVL));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_KEEPCNT, 3));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_KEEPCNT));
    SHOW(set(fd[0], SOL_SOCKET, SO_REUSEADDR, 1));
    SHOW(get(fd[0], SOL_SOCKET, SO_REUSEADDR));
    SHOW(set(fd[0], SOL_SOCKET, SO_REUSEPORT, 1));
    SHOW(get(fd[0], SOL_SOCKET, SO_REUSEPORT));
    SHOW(set(fd[0], SOL_SOCKET, SO_BROADCAST, 1));
    SHOW(set(fd[0], SOL_SOCKET, SO_SNDBUF, 65536));
    SHOW(get(fd[0], SOL_SOCKET, SO_SNDBUF));
    SHOW(set(fd[0], SOL_SOCKET, SO_RCVBUF, 65536));
    SHOW(get(fd[0], SOL_SOCKET, SO_RCVBUF));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_MAXSEG) > 500);
    SHOW(set(fd[0], IPPROTO_TCP, TCP_CORK, 1));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_CORK, 0));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_QUICKACK, 1));
    SHOW(set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 0));
    SHOW(set(fd[0], IPPROTO_TCP, TCP_USER_TIMEOUT, 10000));
    SHOW(get(fd[0], IPPROTO_TCP, TCP_USER_TIMEOUT));
    SHOW(set(fd[0], IPPROTO_IP, IP_TOS, 0x10));
    SHOW(get(fd[0], IPPROTO_IP, IP_TOS));
    SHOW(get(fd[0], IPPROTO_IP, IP_TTL));
    struct tcp_info info;
    socklen_t length = sizeof info;
    SHOW(getsockopt(fd[0], IPPROTO_TCP, TCP_INFO, &info, &length));
    SHOW(info.tcpi_state);
    struct timeval t = {2, 500000}, back;
    length = sizeof back;
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    SHOW(getsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &back, &length));
    printf("%ld.%06ld\n", (long)back.tv_sec, (long)back.tv_usec);
    struct linger linger = {1, 9};
    length = sizeof linger;
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    linger.l_linger = 0;
    SHOW(getsockopt(fd[0], SOL_SOCKET, SO_LINGER, &linger, &length));
    SHOW(linger.l_linger);
    SHOW(set(fd[0], SOL_SOCKET, 9999, 1));
    SHOW(set(fd[0], IPPROTO_TCP, 9999, 1));
    SHOW(set(fd[0], 9999, 1, 1));
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_KEEPALIVE, &linger, 1));
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4));
    length = 2;
    SHOW(getsockopt(fd[0], SOL_SOCKET, SO_TYPE, &linger, &length));
    SHOW(length);
    SHOW(set(999, SOL_SOCKET, SO_KEEPALIVE, 1));
    SHOW(set(0, SOL_SOCKET, SO_KEEPALIVE, 1));
    DONE();
}
