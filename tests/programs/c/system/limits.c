// getrlimit, setrlimit and prlimit: what is set is given back; more than the hard limit, and nonsense, are refused.
#include "t.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit r;
    SHOW(getrlimit(RLIMIT_NOFILE, &r));
    CHECK(r.rlim_cur >= 256 && r.rlim_max >= r.rlim_cur);
    r.rlim_cur = 200;
    SHOW(setrlimit(RLIMIT_NOFILE, &r));
    SHOW(getrlimit(RLIMIT_NOFILE, &r));
    SHOW(r.rlim_cur);
    SHOW(sysconf(_SC_OPEN_MAX));
    SHOW(getrlimit(RLIMIT_STACK, &r));
    CHECK(r.rlim_cur >= 1 << 20);
    SHOW(getrlimit(RLIMIT_AS, &r));
    SHOW(getrlimit(RLIMIT_CORE, &r));
    r.rlim_cur = r.rlim_max = 0;
    SHOW(setrlimit(RLIMIT_CORE, &r));
    SHOW(getrlimit(RLIMIT_CORE, &r));
    SHOW(r.rlim_max);
    r.rlim_cur = 10;
    r.rlim_max = 5;
    SHOW(setrlimit(RLIMIT_CORE, &r));
    struct rlimit old;
    SHOW(prlimit(0, RLIMIT_NOFILE, NULL, &old));
    SHOW(old.rlim_cur);
    SHOW(prlimit(getpid(), RLIMIT_NOFILE, NULL, &old));
    SHOW(prlimit(999999, RLIMIT_NOFILE, NULL, &old));
    SHOW(getrlimit(99, &r));
    SHOW(getrlimit(RLIMIT_NOFILE, (void *)8));
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(setpriority(PRIO_PROCESS, 0, 5));
    SHOW(getpriority(PRIO_PROCESS, 0));
    DONE();
}
