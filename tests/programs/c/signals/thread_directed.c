// pthread_kill and tgkill reach their thread; a process's signal goes to one that doesn't block it, and the process may be named by any of
// its threads (kill(2), sigqueue(3), getpgid(2)).
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

static atomic_int blocked_tid;
static void *blocked(void *unused) {
    (void)unused;
    blocked_tid = (int)syscall(SYS_gettid);
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
    pthread_t second;
    pthread_create(&second, NULL, blocked, NULL);
    while (!blocked_tid)
        sleep_ms(1);
    who = 0;
    NEED(kill(blocked_tid, SIGUSR1) == 0);
    while (!who)
        sleep_ms(1);
    SHOW(who == tid);
    who = 0;
    NEED(sigqueue(blocked_tid, SIGUSR1, (union sigval){0}) == 0);
    while (!who)
        sleep_ms(1);
    SHOW(who == tid);
    SHOW(getpgid(blocked_tid) == getpgid(0));
    SHOW(getsid(blocked_tid) == getsid(0));
    SHOW(setpgid(blocked_tid, 0));
    SHOW(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
    SHOW(syscall(SYS_tgkill, getpid() + 1, (int)tid, SIGUSR1));
    SHOW(syscall(SYS_tgkill, -1, (int)tid, SIGUSR1));
    SHOW(syscall(SYS_tgkill, getpid(), (int)tid, 0));
    SHOW(syscall(SYS_tkill, (int)tid, 0));
    stop = 1;
    pthread_join(t, NULL);
    pthread_join(second, NULL);
    // A joined thread may take a moment to be gone.
    while (syscall(SYS_tgkill, getpid(), (int)tid, 0) == 0)
        sleep_ms(1);
    puts(t_errno(errno));
    DONE();
}
