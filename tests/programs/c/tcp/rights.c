// Socket options that need a right, asked for without it (socket(7)).
// linux: no
#include "net.h"

static int set(int fd, int option, int value) { return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value); }

int main(void) {
    NEED(setuid(65534) == 0);
    for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++) {
        int fd = socket(AF_INET, kind, 0);
        NEED(fd >= 0);
        CHECK(set(fd, SO_MARK, 0) == -1 && errno == EPERM);
        CHECK(set(fd, SO_PRIORITY, 7) == -1 && errno == EPERM);
        CHECK(set(fd, SO_PRIORITY, 6) == 0);
        CHECK(set(fd, SO_DEBUG, 1) == -1 && errno == EACCES);
        CHECK(set(fd, SO_DEBUG, 0) == 0);
        close(fd);
    }
    DONE();
}
