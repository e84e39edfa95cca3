// Policies, priorities and nice values: what can be set, by which users, and what children have (sched(7), setpriority(2), ioprio_set(2)).
#include "../t.h"
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t least, most;
};

static int set_attr(pid_t pid, void *attr, unsigned flags) { return syscall(SYS_sched_setattr, pid, attr, flags); }
static int get_attr(pid_t pid, void *attr, unsigned size, unsigned flags) {
    return syscall(SYS_sched_getattr, pid, attr, size, flags);
}

static void show(const char *when) {
    struct attr attr = {0};
    struct sched_param parameter;
    CHECK(get_attr(0, &attr, 48, 0) == 0 && sched_getparam(0, &parameter) == 0);
    printf("%s: policy %d, %d, nice %d, priority %d, %d, flags %d\n", when, sched_getscheduler(0), attr.policy, attr.nice,
           attr.priority, parameter.sched_priority, (int)attr.flags);
}

static int set(int policy, int priority) {
    struct sched_param parameter = {priority};
    return sched_setscheduler(0, policy, &parameter);
}

static void in_child(const char *name, void (*body)(void)) {
    printf("-- %s\n", name);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(t_failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void child_of(void) { show("the child"); }

static void root(void) {
    show("at first");
    SHOW(set(SCHED_FIFO, 10));
    show("FIFO");
    SHOW(set(SCHED_FIFO, 0));
    SHOW(set(SCHED_RR, 99));
    SHOW(set(SCHED_RR, 100));
    SHOW(set(SCHED_OTHER, 1));
    SHOW(set(77, 0));
    SHOW(set(SCHED_RR | SCHED_RESET_ON_FORK, 5));
    show("RR");
    in_child("reset", child_of);
    SHOW(set(SCHED_BATCH, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, -7));
    show("BATCH");
    in_child("inherited", child_of);
    struct attr attr = {.size = 48, .policy = SCHED_IDLE, .nice = 5};
    SHOW(set_attr(0, &attr, 0));
    show("IDLE");
    attr.policy = SCHED_OTHER, attr.nice = -30, attr.flags = 1;
    SHOW(set_attr(0, &attr, 0));
    show("OTHER");
    in_child("reset", child_of);
    attr.flags = 0x10 | 1, attr.nice = 3;
    SHOW(set_attr(0, &attr, 0));
    show("parameters kept");
    attr.flags = 0x8, attr.nice = 3, attr.policy = SCHED_BATCH;
    SHOW(set_attr(0, &attr, 0));
    show("policy kept");
}

static void errors(void) {
    struct attr attr = {.size = 48}, large[2] = {{.size = sizeof large}};
    struct sched_param parameter = {0};
    SHOW(get_attr(0, &attr, 47, 0));
    SHOW(get_attr(0, &attr, 4097, 0));
    SHOW(get_attr(0, &attr, 48, 1));
    SHOW(get_attr(-1, &attr, 48, 0));
    SHOW(get_attr(0, NULL, 48, 0));
    SHOW(get_attr(0, (void *)8, 48, 0));
    SHOW(get_attr(0x7ffffff0, &attr, 48, 0));
    SHOW(set_attr(0, NULL, 0));
    SHOW(set_attr(0, (void *)8, 0));
    SHOW(set_attr(-1, &attr, 0));
    SHOW(set_attr(0, &attr, 1));
    SHOW(set_attr(0x7ffffff0, &attr, 0));
    attr.size = 20;
    SHOW(set_attr(0, &attr, 0));
    CHECK(attr.size >= 48);
    SHOW(set_attr(0, large, 0));
    large[0].size = sizeof large, large[1].priority = 1;
    SHOW(set_attr(0, large, 0));
    SHOW(sched_setscheduler(-1, SCHED_OTHER, &parameter));
    SHOW(sched_setscheduler(0, -1, &parameter));
    SHOW(sched_setscheduler(0, SCHED_OTHER, NULL));
    SHOW(sched_setparam(0, &parameter));
    SHOW(sched_getparam(-1, &parameter));
    SHOW(sched_get_priority_max(SCHED_RR));
    SHOW(sched_get_priority_min(SCHED_RR));
    SHOW(sched_get_priority_max(SCHED_IDLE));
    SHOW(sched_get_priority_max(4));
    struct timespec slice = {1, 1};
    SHOW(set(SCHED_FIFO, 1));
    SHOW(sched_rr_get_interval(0, &slice));
    SHOW(slice.tv_sec == 0 && slice.tv_nsec == 0);
    SHOW(set(SCHED_RR, 1));
    SHOW(sched_rr_get_interval(0, &slice));
    SHOW(slice.tv_sec == 0 && slice.tv_nsec > 0);
    SHOW(getpriority(3, 0));
    SHOW(getpriority(PRIO_PROCESS, 0x7ffffff0));
    SHOW(getpriority(PRIO_PGRP, 0x7ffffff0));
    SHOW(getpriority(PRIO_USER, 0x7ffffff0));
    SHOW(setpriority(PRIO_USER, 0x7ffffff0, 0));
}

static void groups(void) {
    CHECK(setpgid(0, 0) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        (void)!read(ends[0], &byte, 1);
        _exit(0);
    }
    SHOW(setpriority(PRIO_PGRP, 0, 4));
    SHOW(getpriority(PRIO_PROCESS, child));
    SHOW(setpriority(PRIO_PROCESS, child, 9));
    SHOW(getpriority(PRIO_PGRP, 0));
    close(ends[1]);
    CHECK(waitpid(child, NULL, 0) == child);
}

static void user(void) {
    struct rlimit limit = {0, 0};
    // Of a user that may do nothing of it: root's own limits may be higher.
    CHECK(setrlimit(RLIMIT_NICE, &limit) == 0 && setrlimit(RLIMIT_RTPRIO, &limit) == 0);
    CHECK(setpriority(PRIO_PROCESS, 0, 0) == 0);
    pid_t parent = getppid();
    CHECK(setgid(45678) == 0 && setuid(45678) == 0);
    SHOW(setpriority(PRIO_PROCESS, 0, 2));
    SHOW(setpriority(PRIO_PROCESS, 0, 1));
    SHOW(setpriority(PRIO_PROCESS, parent, 19));
    SHOW(setpriority(PRIO_USER, 45678, 3));
    SHOW(set(SCHED_FIFO, 1));
    SHOW(set(SCHED_BATCH, 0));
    SHOW(set(SCHED_OTHER | SCHED_RESET_ON_FORK, 0));
    SHOW(set(SCHED_OTHER, 0));
    SHOW(set(SCHED_IDLE | SCHED_RESET_ON_FORK, 0));
    SHOW(set(SCHED_OTHER | SCHED_RESET_ON_FORK, 0));
    struct sched_param parameter = {0};
    SHOW(sched_setscheduler(parent, SCHED_OTHER, &parameter));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 1 << 13));
    SHOW(syscall(SYS_ioprio_set, 1, parent, 2 << 13));
}

static void classes(void) {
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
    SHOW(syscall(SYS_ioprio_get, 1, 0));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    SHOW(syscall(SYS_ioprio_get, 1, 0) >> 13);
    SHOW(syscall(SYS_ioprio_set, 1, 0, 5 << 13));
    SHOW(syscall(SYS_ioprio_set, 1, 0, 1));
    SHOW(syscall(SYS_ioprio_set, 4, 0, 2 << 13));
    SHOW(syscall(SYS_ioprio_set, 1, 0x7ffffff0, 2 << 13));
    SHOW(syscall(SYS_ioprio_get, 4, 0));
}

// With one CPU, a thread of a real-time policy that wakes runs before one that computes goes on.
static void order(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    volatile int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        CHECK(set(SCHED_FIFO, 20) == 0);
        shared[0] = 1;
        CHECK(read(ends[0], &byte, 1) == 1);
        shared[1] = 1;
        _exit(0);
    }
    while (!shared[0])
        sched_yield();
    // Of a lower priority, so that the child waits in its call before this goes on.
    CHECK(set(SCHED_FIFO, 10) == 0);
    char path[64], state = 0;
    while (state != 'S') {
        snprintf(path, sizeof path, "/proc/%d/stat", child);
        FILE *stat = fopen(path, "r");
        CHECK(stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
        fclose(stat);
        sched_yield();
    }
    CHECK(write(ends[1], "x", 1) == 1);
    SHOW(shared[1]);
    CHECK(waitpid(child, NULL, 0) == child);
}

// A thread that computes at real-time priority leaves the others of its CPU a part of the time, so that it can be ended.
static void left(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    volatile int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(set(SCHED_FIFO, 20) == 0);
        shared[0] = 1;
        for (;;) {
        }
    }
    while (!shared[0])
        sched_yield();
    int status;
    CHECK(kill(child, SIGTERM) == 0);
    SHOW(waitpid(child, &status, 0) == child);
    SHOW(WTERMSIG(status) == SIGTERM);
}

int main(void) {
    if (getuid() != 0) {
        printf("not run by root\n");
        return 0;
    }
    in_child("root", root);
    in_child("errors", errors);
    in_child("groups", groups);
    in_child("a user", user);
    in_child("classes of input and output", classes);
    in_child("order", order);
    in_child("what is left", left);
    return t_failures != 0;
}
