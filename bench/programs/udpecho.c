/* udpecho.c: sends every datagram back to where it came from; with a second argument, beside a thread that computes. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void *compute(void *unused)
{
    (void)unused;
    for (volatile unsigned long count = 0;; count++) {
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 7)};
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address)) {
        perror("udpecho");
        return 1;
    }
    pthread_t thread;
    if (argc > 2 && pthread_create(&thread, NULL, compute, NULL)) {
        fputs("udpecho: cannot start a thread\n", stderr);
        return 1;
    }
    for (;;) {
        char datagram[2048];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t bytes = recvfrom(descriptor, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &length);
        if (bytes >= 0) {
            sendto(descriptor, datagram, (size_t)bytes, 0, (struct sockaddr *)&from, length);
        }
    }
}
