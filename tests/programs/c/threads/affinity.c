// sched_getaffinity, sched_setaffinity, sched_yield, getcpu, scheduling parameters; threads that cross from CPU to CPU.
// machines: all
#include "t.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

// The CPUs that the program may run on, which need not be all of the machine's, nor its first.
static int cpus[CPU_SETSIZE], cpu_count;

static long long clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

// Goes from CPU to CPU. The thread's CPU time goes on meanwhile, and is not more than the time that passes.
static void *wander(void *start) {
    long elsewhere = 0;
    long long since = clock_ns(CLOCK_MONOTONIC), first = clock_ns(CLOCK_THREAD_CPUTIME_ID), last = first;
    for (long i = 0; i < 2000; i++) {
        int cpu = cpus[((long)start + i) % cpu_count];
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        elsewhere += sched_setaffinity(0, sizeof one, &one) != 0 || sched_getcpu() != cpu;
        long long used = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        // One of the clocks may be slewed.
        elsewhere += used <= last || used - first > 2 * (clock_ns(CLOCK_MONOTONIC) - since) + 1000000;
        last = used;
    }
    return (void *)elsewhere;
}

int main(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    SHOW(sched_getaffinity(0, sizeof set, &set));
    SHOW(CPU_COUNT(&set) >= 1);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpus[cpu_count++] = cpu;
    SHOW(cpu_count >= 1 && cpu_count <= sysconf(_SC_NPROCESSORS_CONF));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpus[0], &one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
    SHOW(sched_getcpu() == cpus[0]);
    sched_getaffinity(0, sizeof one, &one);
    SHOW(CPU_COUNT(&one));
    SHOW(sched_setaffinity(0, sizeof set, &set));
    // No thread has a negative id, and some calls refuse to look for one.
    SHOW(sched_getaffinity(-1, sizeof set, &set));
    SHOW(sched_setaffinity(-1, sizeof set, &set));
    SHOW(getpriority(PRIO_PROCESS, -1));
    SHOW(sched_getscheduler(-1));
    CPU_ZERO(&one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
    SHOW(sched_getaffinity(999999, sizeof set, &set));
    SHOW(syscall(SYS_sched_getaffinity, 0, 1, &set));
    SHOW(sched_yield());
    SHOW(sched_getscheduler(0));
    struct sched_param param = {.sched_priority = 5};
    SHOW(sched_getparam(0, &param));
    SHOW(param.sched_priority);
    SHOW(sched_get_priority_max(SCHED_FIFO));
    SHOW(sched_get_priority_min(SCHED_FIFO));
    SHOW(sched_get_priority_max(SCHED_OTHER));
    struct timespec interval;
    SHOW(sched_rr_get_interval(0, &interval));
    SHOW(nice(0) == getpriority(PRIO_PROCESS, 0));
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, wander, (void *)i);
    long elsewhere = 0;
    for (int i = 0; i < 4; i++) {
        void *count;
        pthread_join(threads[i], &count);
        elsewhere += (long)count;
    }
    SHOW(elsewhere);
    DONE();
}
