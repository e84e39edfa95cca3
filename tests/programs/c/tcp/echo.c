// TCP over the loopback: connect, accept, both directions, close, names of both ends.
#include "net.h"

int main(void) {
    int l = tcp_listener(8);
    int c = tcp_connect(l);
    struct sockaddr_in peer, mine;
    socklen_t length = sizeof peer;
    int s = accept(l, (struct sockaddr *)&peer, &length);
    CHECK(s >= 0);
    SHOW(length);
    SHOW(peer.sin_family);
    SHOW(ntohl(peer.sin_addr.s_addr) == INADDR_LOOPBACK);
    mine = local_address(c);
    CHECK(mine.sin_port == peer.sin_port && mine.sin_addr.s_addr == peer.sin_addr.s_addr);
    SHOW(getpeername(c, (struct sockaddr *)&peer, &length));
    CHECK(peer.sin_port == local_address(l).sin_port);
    CHECK(local_address(s).sin_port == peer.sin_port);
    char b[32] = {0};
    SHOW(write(c, "ping", 4));
    SHOW(read(s, b, sizeof b));
    puts(b);
    SHOW(send(s, "pong", 4, 0));
    SHOW(recv(c, b, sizeof b, 0));
    puts(b);
    SHOW(close(c));
    SHOW(read(s, b, sizeof b));
    SHOW(close(s));
    SHOW(close(l));
    DONE();
}
