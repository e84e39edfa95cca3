// machines: all
// An entry of /proc/self/fd or fdinfo does not keep the file that it is about, so that no chain of them can be built.
#include "t.h"

enum { LENGTH = 20000 };

// Opens the entry of `fd` in a directory of /proc/self, and closes `fd`.
static int follow(const char *directory, int fd, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/%s/%d", directory, fd);
    int entry = open(path, flags);
    NEED(entry >= 0);
    close(fd);
    return entry;
}

static void show_chain(const char *directory, int flags) {
    int fd = open("/dev/null", O_RDONLY);
    for (int i = 0; i < LENGTH; i++)
        fd = follow(directory, fd, flags);
    SHOW(close(fd));
}

int main(void) {
    char byte;
    int p[2];
    NEED(pipe2(p, O_NONBLOCK) == 0);
    int entry = follow("fdinfo", p[1], O_RDONLY);
    SHOW(read(p[0], &byte, 1));
    SHOW(read(entry, &byte, 1));
    close(p[0]);
    close(entry);

    NEED(pipe2(p, O_NONBLOCK) == 0);
    entry = follow("fd", p[1], O_PATH | O_NOFOLLOW);
    SHOW(read(p[0], &byte, 1));
    SHOW(readlinkat(entry, "", &byte, 1));

    show_chain("fdinfo", O_RDONLY);
    show_chain("fd", O_PATH | O_NOFOLLOW);
    DONE();
}
