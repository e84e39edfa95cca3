// cachestat: which pages of a file are in memory.
#include "t.h"
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct range {
    uint64_t off, len;
};
struct found {
    uint64_t cache, dirty, writeback, evicted, recently_evicted;
};

static void look(int fd, uint64_t off, uint64_t len) {
    struct range range = {off, len};
    struct found found;
    memset(&found, 0xff, sizeof found);
    if (syscall(SYS_cachestat, fd, &range, &found, 0) == -1)
        printf("%llu+%llu: %s\n", (long long)off, (long long)len, t_errno(errno));
    else
        printf("%llu+%llu: %llu, dirty or not %d, writing %llu, evicted %llu %llu\n", (long long)off, (long long)len, (long long)found.cache,
               found.dirty <= found.cache, (long long)found.writeback, (long long)found.evicted, (long long)found.recently_evicted);
}

int main(void) {
    static char page[4096];
    int fd = syscall(SYS_memfd_create, "pages", 0);
    NEED(fd >= 0 && ftruncate(fd, 100 * 4096) == 0);
    look(fd, 0, 0);
    for (int i = 0; i < 20; i += 2)
        NEED(pwrite(fd, page, sizeof page, i * 4096) == sizeof page);
    look(fd, 0, 0);
    look(fd, 0, 4096);
    look(fd, 4096, 4096);
    look(fd, 4095, 2);
    look(fd, 4 * 4096, 8 * 4096 + 1);
    look(fd, 18 * 4096, 0);
    look(fd, 200 * 4096, 1);
    look(fd, 0, ~0ull);
    struct range range = {0, 0};
    struct found found;
    SHOW(syscall(SYS_cachestat, fd, &range, &found, 1));
    SHOW(syscall(SYS_cachestat, -1, &range, &found, 0));
    SHOW(syscall(SYS_cachestat, fd, NULL, &found, 0));
    SHOW(syscall(SYS_cachestat, fd, &range, NULL, 0));
    DONE();
}
