// SO_RCVTIMEO and SO_SNDTIMEO end blocking calls with EAGAIN; a signal ends them with EINTR.
#include "net.h"
#include <pthread.h>

static void handler(int signal) { (void)signal; }
static pthread_t main_thread;
static void *sender(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

int main(void) {
    int fd[2], l = tcp_listener(1);
    tcp_pair(fd);
    struct timeval t = {0, 50000};
    char b[65536] = {0};
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    long start = now_ms();
    SHOW(read(fd[0], b, 1));
    CHECK(now_ms() - start >= 45);
    SHOW(setsockopt(fd[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t));
    ssize_t n;
    while ((n = write(fd[0], b, sizeof b)) > 0) {
    }
    SHOW(n);
    puts(t_errno(errno));
    setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    SHOW(accept(l, NULL, NULL));
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    main_thread = pthread_self();
    pthread_t other;
    tcp_pair(fd);
    pthread_create(&other, NULL, sender, NULL);
    SHOW(read(fd[0], b, 1));
    pthread_join(other, NULL);
    DONE();
}
