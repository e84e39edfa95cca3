// socketpair: stream, datagram and sequenced packets; borders; end of file; large transfers; EAGAIN.
#include "net.h"
#include <pthread.h>

static int s[2];
static void *writer(void *unused) {
    (void)unused;
    static unsigned char b[1 << 20];
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = pattern(i);
    write_all(s[0], b, sizeof b);
    close(s[0]);
    return NULL;
}

int main(void) {
    char b[64] = {0};
    int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 3; i++) {
        SHOW(socketpair(AF_UNIX, types[i], 0, s));
        SHOW(write(s[0], "first", 5));
        SHOW(write(s[0], "second", 6));
        SHOW(read(s[1], b, 64));
        SHOW(recv(s[1], b, 3, MSG_DONTWAIT));
        SHOW(recv(s[1], b, 64, MSG_DONTWAIT));
        SHOW(sendto(s[1], "x", 1, 0, (struct sockaddr *)8, 0)); // An address of no bytes is none.
        SHOW(recv(s[0], b, 64, MSG_DONTWAIT));
        SHOW(write(s[1], "back", 4));
        SHOW(read(s[0], b, 64));
        close(s[0]);
        SHOW(recv(s[1], b, 64, MSG_DONTWAIT));
        SHOW(send(s[1], "x", 1, MSG_NOSIGNAL));
        close(s[1]);
    }
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    pthread_t t;
    pthread_create(&t, NULL, writer, NULL);
    size_t total = 0, bad = 0;
    unsigned char big[4321];
    ssize_t n;
    while ((n = read(s[1], big, sizeof big)) > 0)
        for (ssize_t i = 0; i < n; i++)
            bad += big[i] != pattern(total++);
    SHOW(total);
    SHOW(bad);
    pthread_join(t, NULL);
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, s));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8));
    DONE();
}
