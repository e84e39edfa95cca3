// getrusage(2) and wait4(2): switches of all threads, of those that ended, and of children that were waited for.
#include "t.h"
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifndef SYS_kcmp
#define SYS_kcmp 312
#endif
enum { SLEEPS = 5, KCMP_EPOLL_TFD = 7 };

static int ends[2], told[2];

// Waits for a byte, some times, each of which comes when it sleeps.
static void *sleeps(void *argument) {
    char byte;
    pid_t self = syscall(SYS_gettid);
    NEED(write(told[1], &self, sizeof self) == sizeof self);
    for (int i = 0; i < SLEEPS; i++)
        NEED(read(ends[0], &byte, 1) == 1);
    return NULL;
}
static void wake(char (*state)(long)) {
    pid_t sleeper;
    NEED(read(told[0], &sleeper, sizeof sleeper) == sizeof sleeper);
    for (int i = 0; i < SLEEPS; i++) {
        WAIT_UNTIL_ASLEEP(state(sleeper));
        NEED(write(ends[1], "", 1) == 1);
        // It has been taken before the next one comes.
        int left = 1;
        while (left) {
            NEED(ioctl(ends[0], FIONREAD, &left) == 0);
            sched_yield();
        }
    }
}

// Which description an epoll set watches (kcmp(2)).
static void members(void) {
    struct { uint32_t set, fd, place; } slot;
    int set = epoll_create1(0);
    NEED(set >= 0);
    struct epoll_event event = {.events = EPOLLIN};
    NEED(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event) == 0);
    slot.set = set, slot.fd = ends[0], slot.place = 0;
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[1], &slot) != 0);
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, 999, &slot));
    slot.place = 1;
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    slot.place = 0, slot.fd = ends[1];
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    slot.set = ends[0];
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    slot.set = 999;
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], &slot));
    SHOW(syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, ends[0], NULL));
}

int main(void) {
    struct rusage before, after, children, waited;
    pthread_t thread;
    NEED(getrusage(RUSAGE_SELF, &before) == 0);
    NEED(pipe(ends) == 0 && pipe(told) == 0);
    NEED(pthread_create(&thread, NULL, sleeps, NULL) == 0);
    wake(thread_state);
    NEED(pthread_join(thread, NULL) == 0);
    NEED(getrusage(RUSAGE_SELF, &after) == 0);
    CHECK(after.ru_nvcsw - before.ru_nvcsw >= SLEEPS);
    CHECK(after.ru_maxrss > 0 && after.ru_maxrss >= before.ru_maxrss);
    NEED(getrusage(RUSAGE_CHILDREN, &children) == 0);
    printf("before: %ld %ld %ld\n", children.ru_nvcsw, children.ru_minflt, children.ru_maxrss);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        memset(malloc(1 << 20), 1, 1 << 20);
        sleeps(NULL);
        _exit(0);
    }
    wake(process_state);
    NEED(wait4(child, NULL, 0, &waited) == child);
    CHECK(waited.ru_nvcsw >= SLEEPS && waited.ru_minflt > 0 && waited.ru_maxrss > 0);
    NEED(getrusage(RUSAGE_CHILDREN, &children) == 0);
    CHECK(children.ru_nvcsw == waited.ru_nvcsw && children.ru_minflt == waited.ru_minflt && children.ru_maxrss == waited.ru_maxrss);
    members();
    DONE();
}
