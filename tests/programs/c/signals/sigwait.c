// sigwait, sigwaitinfo and sigtimedwait take blocked signals; sigqueue carries values in order.
#include "t.h"
#include <pthread.h>

static void *sender(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    kill(getpid(), SIGUSR2);
    return NULL;
}

int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    int signal;
    SHOW_ERROR(sigwait(&set, &signal));
    SHOW(signal == SIGUSR1);
    for (int i = 0; i < 3; i++)
        SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}));
    siginfo_t info;
    for (int i = 0; i < 3; i++) {
        SHOW(sigwaitinfo(&set, &info) == SIGRTMIN);
        printf("code %d value %d\n", info.si_code, info.si_value.sival_int);
    }
    struct timespec limit = {0, 20000000};
    long start = now_ms();
    SHOW(sigtimedwait(&set, &info, &limit));
    CHECK(now_ms() - start >= 19);
    limit.tv_nsec = 0;
    SHOW(sigtimedwait(&set, &info, &limit));
    pthread_t t;
    pthread_create(&t, NULL, sender, NULL);
    SHOW(sigwaitinfo(&set, NULL) == SIGUSR2);
    pthread_join(t, NULL);
    limit.tv_nsec = -1;
    SHOW(sigtimedwait(&set, &info, &limit));
    DONE();
}
