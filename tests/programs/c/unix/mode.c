// fchmod(2) of a socket: fstat(2) shows it, and the node that it is bound to has it, but for the umask (unix(7)).
#include "net.h"

int main(void) {
    char directory[] = "/tmp/unix-mode-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    umask(022);
    static const mode_t modes[] = {0, 0600, 0666, 0777};
    for (int i = 0; i < 4; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        if (i > 0)
            CHECK(fchmod(fd, modes[i]) == 0);
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        snprintf(name.sun_path, sizeof name.sun_path, "%s/%d", directory, i);
        CHECK(bind(fd, ADDR(name)) == 0);
        struct stat socket, node;
        CHECK(fstat(fd, &socket) == 0 && stat(name.sun_path, &node) == 0);
        printf("socket %o, node %o\n", socket.st_mode, node.st_mode);
        CHECK(unlink(name.sun_path) == 0);
        close(fd);
    }
    CHECK(rmdir(directory) == 0);
    DONE();
}
