// A UDP echo server on the port given, for the application tests.
#include "net.h"

int main(int argc, char **argv) {
    NEED(argc == 2);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    NEED(bind(fd, ADDR(a)) == 0);
    puts("listening");
    static char b[65536];
    for (;;) {
        socklen_t length = sizeof a;
        ssize_t n = recvfrom(fd, b, sizeof b, 0, (struct sockaddr *)&a, &length);
        NEED(n >= 0);
        NEED(sendto(fd, b, (size_t)n, 0, (struct sockaddr *)&a, length) == n);
    }
}
