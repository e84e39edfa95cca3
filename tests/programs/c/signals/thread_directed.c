// pthread_kill and tgkill reach their thread; a process's signal goes to one that doesn't block it.
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int who;
static void handler(int signal) { (void)signal, who = (int)syscall(SYS_gettid); }
static atomic_int tid, stop;
static void *other(void *unused) {
    (void)unused;
    tid = (int)syscall(SYS_gettid);
    while (!stop)
        sleep_ms(1);
    return NULL;
}

int main(void) {
    signal(SIGUSR1, handler);
    pthread_t t;
    pthread_create(&t, NULL, other, NULL);
    while (!tid)
        sleep_ms(1);
    SHOW_ERROR(pthread_kill(t, SIGUSR1));
    while (!who)
        sleep_ms(1);
    SHOW(who == tid);
    who = 0;
    SHOW(syscall(SYS_tgkill, getpid(), (int)tid, SIGUSR1));
    while (!who)
        sleep_ms(1);
    SHOW(who == tid);
    who = 0;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    while (!who)
        sleep_ms(1);
    SHOW(who == tid);
    SHOW(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
    SHOW(syscall(SYS_tgkill, getpid() + 1, (int)tid, SIGUSR1));
    SHOW(syscall(SYS_tgkill, -1, (int)tid, SIGUSR1));
    SHOW(syscall(SYS_tgkill, getpid(), (int)tid, 0));
    SHOW(syscall(SYS_tkill, (int)tid, 0));
    stop = 1;
    pthread_join(t, NULL);
    // A joined thread may take a moment to be gone.
    while (syscall(SYS_tgkill, getpid(), (int)tid, 0) == 0)
        sleep_ms(1);
    puts(t_errno(errno));
    DONE();
}
