// A threaded echo server with clients of several threads: hundreds of connections, each byte comes back.
#include "net.h"
#include <pthread.h>

enum { CLIENTS = 4, EACH = 40 };
static int l;
static void *serve(void *fd) {
    char b[512];
    ssize_t n;
    while ((n = read((int)(long)fd, b, sizeof b)) > 0)
        write_all((int)(long)fd, b, (size_t)n);
    close((int)(long)fd);
    return NULL;
}
static void *server(void *unused) {
    (void)unused;
    for (int i = 0; i < CLIENTS * EACH; i++) {
        int fd = accept(l, NULL, NULL);
        NEED(fd >= 0);
        pthread_t t;
        NEED(pthread_create(&t, NULL, serve, (void *)(long)fd) == 0);
        pthread_detach(t);
    }
    return NULL;
}
static void *client(void *argument) {
    long bad = 0;
    for (long i = 0; i < EACH; i++) {
        int fd = tcp_connect(l);
        unsigned char out[3000], in[3000];
        for (size_t k = 0; k < sizeof out; k++)
            out[k] = pattern(k + (size_t)i * 7 + (size_t)(long)argument);
        write_all(fd, out, sizeof out);
        bad += read_all(fd, in, sizeof in) != sizeof in || memcmp(in, out, sizeof in) != 0;
        close(fd);
    }
    return (void *)bad;
}

int main(void) {
    l = tcp_listener(128);
    pthread_t s, c[CLIENTS];
    pthread_create(&s, NULL, server, NULL);
    for (long i = 0; i < CLIENTS; i++)
        pthread_create(&c[i], NULL, client, (void *)i);
    long bad = 0;
    for (int i = 0; i < CLIENTS; i++) {
        void *r;
        pthread_join(c[i], &r);
        bad += (long)r;
    }
    pthread_join(s, NULL);
    SHOW(bad);
    DONE();
}
