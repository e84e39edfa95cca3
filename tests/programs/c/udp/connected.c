// A connected UDP socket talks to one peer, hears only it, learns of refusal, and can be freed again.
#include "net.h"

int main(void) {
    int a = udp_socket(), b = udp_socket(), c = udp_socket();
    struct sockaddr_in to_b = local_address(b), to_a = local_address(a), peer;
    char buffer[64] = {0};
    SHOW(connect(a, ADDR(to_b)));
    socklen_t length = sizeof peer;
    SHOW(getpeername(a, (struct sockaddr *)&peer, &length));
    CHECK(peer.sin_port == to_b.sin_port);
    SHOW(sendto(a, "x", 1, 0, (struct sockaddr *)&to_b, 0));
    SHOW(send(a, "hello", 5, 0));
    SHOW(recv(b, buffer, 64, 0));
    SHOW(sendto(c, "stranger", 8, 0, ADDR(to_a)));
    SHOW(sendto(b, "friend", 6, 0, ADDR(to_a)));
    memset(buffer, 0, sizeof buffer);
    SHOW(recv(a, buffer, 64, 0));
    puts(buffer);
    SHOW(recv(a, buffer, 64, MSG_DONTWAIT));
    close(b);
    SHOW(send(a, "x", 1, 0));
    events_of(a, POLLIN, 60000);
    SHOW(recv(a, buffer, 64, MSG_DONTWAIT));
    struct sockaddr_in none = {.sin_family = AF_UNSPEC};
    SHOW(connect(a, ADDR(none)));
    SHOW(getpeername(a, (struct sockaddr *)&peer, &length));
    SHOW(sendto(c, "free", 4, 0, ADDR(to_a)));
    // The port may have gone with the connection, if the kernel chose it.
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    SHOW(connect(u, ADDR(to_a)));
    CHECK(local_address(u).sin_port != 0);
    SHOW(ntohl(local_address(u).sin_addr.s_addr) == INADDR_LOOPBACK);
    SHOW(write(u, "by write", 8));
    DONE();
}
