// epoll_pwait lets a blocked signal in while it waits, and only then; time-outs are kept.
#include "t.h"
#include <pthread.h>
#include <sys/epoll.h>

static volatile int caught;
static void handler(int signal) { (void)signal, caught++; }
static pthread_t main_thread;
static void *sender(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    SHOW(caught);
    int ep = epoll_create1(0);
    struct epoll_event e;
    SHOW(epoll_pwait(ep, &e, 1, -1, &none));
    SHOW(caught);
    SHOW(epoll_pwait(ep, &e, 1, 0, &none));
    main_thread = pthread_self();
    pthread_t t;
    pthread_create(&t, NULL, sender, NULL);
    SHOW(epoll_pwait(ep, &e, 1, -1, &none));
    SHOW(caught);
    pthread_join(t, NULL);
    long start = now_ms();
    SHOW(epoll_wait(ep, &e, 1, 30));
    CHECK(now_ms() - start >= 29);
    struct timespec limit = {0, 30000000};
    start = now_ms();
    SHOW(syscall(SYS_epoll_pwait2, ep, &e, 1, &limit, NULL, 8));
    CHECK(now_ms() - start >= 29);
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    SHOW(sigismember(&now, SIGUSR1));
    DONE();
}
