// Signals that arrive in a storm while threads block, allocate and write: nothing is lost, nothing deadlocks.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_long handled, stop;
static void handler(int signal) {
    (void)signal;
    int saved = errno;
    atomic_fetch_add(&handled, 1);
    getpid();
    errno = saved;
}
static int p[2];
static void *writer(void *unused) {
    (void)unused;
    char b[100];
    memset(b, 'w', sizeof b);
    for (int i = 0; i < 2000; i++) {
        char *m = malloc(1000 + (size_t)i);
        size_t done = 0;
        while (done < sizeof b) {
            ssize_t n = write(p[1], b + done, sizeof b - done);
            if (n > 0)
                done += (size_t)n;
            else
                CHECK(errno == EINTR);
        }
        free(m);
    }
    close(p[1]);
    stop = 1;
    return NULL;
}
static void *reader(void *unused) {
    (void)unused;
    char b[333];
    long total = 0;
    for (;;) {
        ssize_t n = read(p[0], b, sizeof b);
        if (n > 0)
            total += n;
        else if (n == 0)
            return (void *)total;
    }
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, NULL);
    NEED(pipe(p) == 0);
    pthread_t w, r;
    pthread_create(&w, NULL, writer, NULL);
    pthread_create(&r, NULL, reader, NULL);
    long sent = 0;
    while (!stop) {
        pthread_kill(w, SIGUSR1);
        pthread_kill(r, SIGUSR1);
        sent += 2;
        sched_yield();
    }
    void *total;
    pthread_join(w, NULL);
    pthread_join(r, &total);
    SHOW((long)total);
    CHECK(handled > 0 && handled <= sent);
    DONE();
}
