// Advice about another process's memory, by its descriptor.
#include "t.h"
#include <sys/uio.h>
#include <sys/wait.h>

enum { PAGE = 4096 };

static long advise(int fd, const struct iovec *v, size_t n, int advice, unsigned flags) {
    return syscall(SYS_process_madvise, fd, v, n, advice, flags);
}

int main(void) {
    char *m = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(m != MAP_FAILED);
    memset(m, 1, 8 * PAGE);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    int fd = (int)syscall(SYS_pidfd_open, child, 0), self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    NEED(fd >= 0 && self >= 0);
    struct iovec v[2] = {{m, 2 * PAGE}, {m + 4 * PAGE, PAGE}};
    SHOW(advise(self, v, 2, MADV_COLD, 0));
    SHOW(advise(self, v, 2, MADV_WILLNEED, 1));
    SHOW(advise(self, v, 0, MADV_WILLNEED, 0));
    SHOW(advise(fd, v, 2, MADV_DONTNEED, 0));
    SHOW(advise(-1, v, 2, MADV_COLD, 0));
    SHOW(advise(0, v, 2, MADV_COLD, 0));
    SHOW(advise(self, (void *)8, 1, MADV_COLD, 0));
    SHOW(advise(self, v, 2000, MADV_COLD, 0));
    v[1].iov_base = m + 1;
    SHOW(advise(self, v, 2, MADV_COLD, 0));
    v[0].iov_base = m + 1;
    SHOW(advise(self, v, 2, MADV_COLD, 0));
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    v[0].iov_base = m;
    SHOW(advise(fd, v, 1, MADV_COLD, 0));
    DONE();
}
