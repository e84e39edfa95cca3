// UDP: datagrams keep their borders and senders; truncation; empty ones; queues.
#include "net.h"

int main(void) {
    int a = udp_socket(), b = udp_socket();
    struct sockaddr_in to = local_address(b), from;
    char buffer[2000] = {0};
    SHOW(sendto(a, "one", 3, 0, ADDR(to)));
    SHOW(sendto(a, "", 0, 0, ADDR(to)));
    SHOW(sendto(a, "three", 5, 0, ADDR(to)));
    socklen_t length = sizeof from;
    SHOW(recvfrom(b, buffer, 2, 0, (struct sockaddr *)&from, &length));
    CHECK(from.sin_port == local_address(a).sin_port && length == sizeof from);
    SHOW(recv(b, buffer, 100, 0));
    SHOW(recv(b, buffer, 2, MSG_TRUNC | MSG_PEEK));
    SHOW(recv(b, buffer, 100, 0));
    SHOW(recv(b, buffer, 100, MSG_DONTWAIT));
    char big[65507];
    memset(big, 'b', sizeof big);
    SHOW(sendto(a, big, sizeof big, 0, ADDR(to)));
    static char in[70000];
    SHOW(recv(b, in, sizeof in, 0));
    SHOW(memcmp(in, big, sizeof big));
    static char too_big[65508];
    SHOW(sendto(a, too_big, sizeof too_big, 0, ADDR(to)));
    for (int i = 0; i < 20; i++)
        sendto(a, &i, sizeof i, 0, ADDR(to));
    int ordered = 0, v;
    for (int i = 0; i < 20; i++)
        ordered += recv(b, &v, sizeof v, 0) == 4 && v == i;
    SHOW(ordered);
    SHOW(send(a, "x", 1, 0));
    SHOW(listen(a, 1));
    SHOW(accept(a, NULL, NULL));
    // To a port where nobody listens.
    struct sockaddr_in nobody = local_address(b);
    close(b);
    SHOW(sendto(a, "x", 1, 0, ADDR(nobody)));
    DONE();
}
