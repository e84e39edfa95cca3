// A thread blocked in accept, read or connect sees what another thread does to its peer or descriptor.
#include "net.h"
#include <pthread.h>

static int l, fd[2];
static void *connects(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    close(tcp_connect(l));
    return NULL;
}
static void *shuts(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    shutdown(fd[0], SHUT_RDWR);
    return NULL;
}
static void *shuts_listener(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    shutdown(l, SHUT_RDWR);
    return NULL;
}

int main(void) {
    l = tcp_listener(4);
    pthread_t t;
    pthread_create(&t, NULL, connects, NULL);
    SHOW(accept(l, NULL, NULL) >= 0);
    pthread_join(t, NULL);
    tcp_pair(fd);
    char b[8];
    pthread_create(&t, NULL, shuts, NULL);
    SHOW(read(fd[0], b, 8));
    pthread_join(t, NULL);
    SHOW(read(fd[1], b, 8));
    pthread_create(&t, NULL, shuts_listener, NULL);
    SHOW(accept(l, NULL, NULL));
    pthread_join(t, NULL);
    DONE();
}
