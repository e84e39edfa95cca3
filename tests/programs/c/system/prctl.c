// prctl: names of threads, timer slack, dumpable, no-new-privileges, parent-death signal, capabilities; unknown options.
#include "t.h"
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>

static void *named(void *unused) {
    (void)unused;
    char name[16];
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    SHOW_ERROR(pthread_setname_np(pthread_self(), "worker"));
    SHOW_ERROR(pthread_getname_np(pthread_self(), name, sizeof name));
    puts(name);
    return NULL;
}

static void *slack(void *unused) {
    (void)unused;
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_TIMERSLACK, 1000));
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
    SHOW(prctl(PR_GET_TIMERSLACK));
    return NULL;
}

// The slack is added to a sleep if nothing else wakes the CPU before, and a sleep never ends early.
static void slack_of_sleeps(void) {
    struct timespec start, end, nap = {0, 1000000};
    SHOW(prctl(PR_SET_TIMERSLACK, 100000000));
    clock_gettime(CLOCK_MONOTONIC, &start);
    nanosleep(&nap, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    SHOW((end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec >= nap.tv_nsec);
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
}

int main(void) {
    char name[16];
    SHOW(prctl(PR_SET_NAME, "a name of more than sixteen bytes"));
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    pthread_t t;
    pthread_create(&t, NULL, named, NULL);
    pthread_join(t, NULL);
    prctl(PR_GET_NAME, name);
    puts(name);
    SHOW(prctl(PR_GET_TIMERSLACK));
    SHOW(prctl(PR_SET_TIMERSLACK, 70000));
    pthread_create(&t, NULL, slack, NULL);
    pthread_join(t, NULL);
    SHOW(prctl(PR_SET_TIMERSLACK, 0));
    SHOW(prctl(PR_GET_TIMERSLACK));
    slack_of_sleeps();
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_DUMPABLE, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(prctl(PR_SET_PDEATHSIG, SIGTERM));
    int signal = 0;
    SHOW(prctl(PR_GET_PDEATHSIG, &signal));
    SHOW(signal);
    SHOW(prctl(123456));
    SHOW(prctl(PR_SET_NAME, 8));
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    SHOW(syscall(SYS_capget, &h, d));
    SHOW(syscall(SYS_personality, 0xffffffff));
    SHOW(syscall(SYS_membarrier, 0, 0, 0) >= 0);
    // What the program has registered (MEMBARRIER_CMD_GET_REGISTRATIONS).
    SHOW(syscall(SYS_membarrier, 1 << 9, 0, 0));
    SHOW(syscall(SYS_membarrier, 1 << 4, 0, 0));
    SHOW(syscall(SYS_membarrier, 1 << 9, 0, 0));
    DONE();
}
