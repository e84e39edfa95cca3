// Megabytes both ways at once over one connection, byte for byte, in pieces of every size.
#include "net.h"
#include <pthread.h>

enum { TOTAL = 4 << 20 };
static void *sender(void *fd) {
    static __thread unsigned char b[100000];
    size_t at = 0;
    for (size_t piece = 1; at < TOTAL; piece = piece * 5 % 99991 + 1) {
        size_t n = piece < TOTAL - at ? piece : TOTAL - at;
        for (size_t i = 0; i < n; i++)
            b[i] = pattern(at + i);
        write_all((int)(long)fd, b, n);
        at += n;
    }
    CHECK(shutdown((int)(long)fd, SHUT_WR) == 0);
    return NULL;
}
static void *receiver(void *fd) {
    static __thread unsigned char b[77777];
    size_t at = 0, bad = 0;
    ssize_t n;
    while ((n = read((int)(long)fd, b, sizeof b)) > 0)
        for (ssize_t i = 0; i < n; i++)
            bad += b[i] != pattern(at++);
    CHECK(n == 0 && at == TOTAL);
    return (void *)bad;
}

int main(void) {
    int fd[2];
    tcp_pair(fd);
    pthread_t t[4];
    for (long i = 0; i < 2; i++) {
        pthread_create(&t[i], NULL, sender, (void *)(long)fd[i]);
        pthread_create(&t[2 + i], NULL, receiver, (void *)(long)fd[i]);
    }
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(t[i], &bad);
        SHOW((long)bad);
    }
    DONE();
}
