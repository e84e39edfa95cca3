// getrusage, times and CPU clocks count the time a thread and the process have run, not what they slept.
#include "t.h"
#include <sys/resource.h>
#include <sys/times.h>

int main(void) {
    struct rusage a, b;
    SHOW(getrusage(RUSAGE_SELF, &a));
    clock_t c = clock();
    while (clock() - c < CLOCKS_PER_SEC / 10) {
    }
    SHOW(getrusage(RUSAGE_SELF, &b));
    long used = (b.ru_utime.tv_sec - a.ru_utime.tv_sec) * 1000000 + b.ru_utime.tv_usec - a.ru_utime.tv_usec +
                (b.ru_stime.tv_sec - a.ru_stime.tv_sec) * 1000000 + b.ru_stime.tv_usec - a.ru_stime.tv_usec;
    CHECK(used >= 80000 && used < 5000000);
    CHECK(b.ru_maxrss > 100);
    c = clock();
    sleep_ms(200);
    CHECK(clock() - c < CLOCKS_PER_SEC / 10);
    SHOW(getrusage(RUSAGE_THREAD, &a));
    SHOW(getrusage(RUSAGE_CHILDREN, &a));
    SHOW(a.ru_utime.tv_sec);
    SHOW(getrusage(99, &a));
    struct tms t;
    SHOW(times(&t) > 0);
    SHOW(t.tms_utime + t.tms_stime > 0);
    SHOW(t.tms_cutime);
    DONE();
}
