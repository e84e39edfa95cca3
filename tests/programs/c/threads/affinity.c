// sched_getaffinity, sched_setaffinity, sched_yield, getcpu, scheduling parameters; threads that cross from CPU to CPU.
#include "t.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

static void *wander(void *start) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN), elsewhere = 0;
    for (long i = 0; i < 2000; i++) {
        int cpu = (int)(((long)start + i) % cpus);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        elsewhere += sched_setaffinity(0, sizeof one, &one) != 0 || sched_getcpu() != cpu;
    }
    return (void *)elsewhere;
}

int main(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    SHOW(sched_getaffinity(0, sizeof set, &set));
    SHOW(CPU_COUNT(&set) >= 1);
    SHOW(CPU_ISSET(0, &set));
    SHOW(CPU_COUNT(&set) == sysconf(_SC_NPROCESSORS_ONLN));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    SHOW(sched_setaffinity(0, sizeof one, &one));
    SHOW(sched_getcpu());
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
    SHOW(nice(0));
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
