// Sends a datagram to a UDP port of the host's loopback (at 10.0.2.2 on QEMU's user network), then answers one datagram
// with what it says. Arguments: that port, and the port to answer on.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    struct sockaddr_in host = {AF_INET, htons(atoi(argv[1])), {inet_addr("10.0.2.2")}};
    struct sockaddr_in own = {AF_INET, htons(atoi(argv[2])), {INADDR_ANY}};
    int out = socket(AF_INET, SOCK_DGRAM, 0), in = socket(AF_INET, SOCK_DGRAM, 0);
    if (out < 0 || in < 0 || bind(in, (struct sockaddr *)&own, sizeof own) != 0) return 3;
    if (sendto(out, "secret", 6, 0, (struct sockaddr *)&host, sizeof host) != 6) return 4;
    puts("waiting");
    fflush(stdout);
    char bytes[64];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(in, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);
    if (got < 0) return 5;
    return sendto(in, bytes, got, 0, (struct sockaddr *)&from, length) == got ? 0 : 6;
}
