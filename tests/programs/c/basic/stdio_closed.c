// Standard descriptors can be closed, and the numbers are used again, lowest first.
#include "t.h"

int main(void) {
    int keep = dup(1);
    SHOW(keep);
    close(0);
    SHOW(open("/dev/null", O_RDONLY));
    close(1);
    CHECK(write(1, "x", 1) == -1 && errno == EBADF);
    int fd = open("/dev/null", O_WRONLY);
    dprintf(keep, "lowest free was %d\n", fd);
    CHECK(dup2(keep, 1) == 1);
    puts("back again");
    DONE();
}
