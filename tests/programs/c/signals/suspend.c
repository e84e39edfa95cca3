// sigsuspend exchanges the mask while it waits and puts it back after; pause waits for any handler.
#include "t.h"
#include <pthread.h>

static volatile int count;
static void handler(int signal) { (void)signal, count++; }
static pthread_t main_thread;
static void *sender(void *signal) {
    wait_until_asleep(getpid());
    pthread_kill(main_thread, (int)(long)signal);
    return NULL;
}

int main(void) {
    main_thread = pthread_self();
    signal(SIGUSR1, handler);
    signal(SIGUSR2, handler);
    sigset_t block, wait, now;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    SHOW(count);
    sigfillset(&wait);
    sigdelset(&wait, SIGUSR1);
    SHOW(sigsuspend(&wait));
    SHOW(count);
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("%d %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
    pthread_t t;
    pthread_create(&t, NULL, sender, (void *)SIGUSR1);
    SHOW(sigsuspend(&wait));
    pthread_join(t, NULL);
    pthread_create(&t, NULL, sender, (void *)SIGUSR2);
    SHOW(pause());
    SHOW(count);
    pthread_join(t, NULL);
    DONE();
}
