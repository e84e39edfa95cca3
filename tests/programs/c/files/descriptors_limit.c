// RLIMIT_NOFILE bounds the descriptors: EMFILE beyond it, and thousands of them below it.
#include "t.h"
#include <sys/resource.h>

int main(void) {
    struct rlimit limit = {64, 4096};
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    int fd, last = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    SHOW(fd);
    printf("%s\n", t_errno(errno));
    SHOW(last);
    SHOW(dup(0));
    int p[2];
    SHOW(pipe(p));
    limit.rlim_cur = 4000;
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    while ((fd = dup(0)) >= 0)
        last = fd;
    SHOW(last);
    for (int i = 3; i <= last; i += 2)
        close(i);
    SHOW(dup(0));
    SHOW(close_range(3, ~0u, 0));
    SHOW(dup(0));
    DONE();
}
