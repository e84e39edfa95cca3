// Every call that writes to memory is given addresses of the kernel: in protected mode none may be written.
// modes: protected
#include "t.h"
#include <sys/uio.h>

int main(void) {
    int fd = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY), p[2];
    NEED(pipe(p) == 0);
    unsigned long targets[] = {0xffff800000000000, 0xffff888000000000, 0xffffffff80000000, 0xffffffff81000000, 0xfffffffffffff000};
    for (int i = 0; i < 5; i++) {
        void *t = (void *)targets[i];
        SHOW(read(fd, t, 4096));
        SHOW(write(p[1], t, 4096));
        struct iovec v = {t, 4096};
        SHOW(readv(fd, &v, 1));
        SHOW(syscall(SYS_getrandom, t, 64, 0));
        SHOW(syscall(SYS_clock_gettime, 1, t));
        SHOW(syscall(SYS_fstat, fd, t));
        SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, t, 8));
        SHOW(syscall(SYS_mmap, t, 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        SHOW(syscall(SYS_munmap, t, 4096));
        SHOW(syscall(SYS_mprotect, t, 4096, PROT_READ | PROT_WRITE));
    }
    (void)null;
    DONE();
}
