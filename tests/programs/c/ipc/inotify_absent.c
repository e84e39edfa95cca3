// A call that few kernels of this kind have is either right or refused in a way that programs understand.
#include "t.h"
#include <sys/inotify.h>

int main(void) {
    int fd = inotify_init1(IN_NONBLOCK);
    if (fd < 0)
        CHECK(errno == ENOSYS || errno == EMFILE);
    else
        CHECK(inotify_add_watch(fd, "/tmp", IN_CREATE) > 0);
    long ring = syscall(SYS_io_uring_setup, 0, NULL);
    CHECK(ring == -1);
    puts("done");
    DONE();
}
