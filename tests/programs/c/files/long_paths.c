// Links of /proc to a place whose path is longer than PATH_MAX can be followed, but not read, and getcwd(2) fails there.
#include "t.h"

enum { NAME = 200 };

int main(void) {
    char name[NAME + 1], path[2 * PATH_MAX];
    memset(name, 'n', NAME);
    name[NAME] = 0;
    enter_scratch();
    int file = -1;
    for (int length = 0; length < PATH_MAX + NAME; length += NAME + 1) {
        NEED(mkdir(name, 0700) == 0 && chdir(name) == 0);
        errno = 0;
        ssize_t read = readlink("/proc/self/cwd", path, sizeof path);
        long found = syscall(SYS_getcwd, path, sizeof path);
        CHECK((read > 0) == (found > 0));
        if (length + 2 * NAME < PATH_MAX || length > PATH_MAX)
            printf("below %d: link %s, getcwd %s\n", length, read > 0 ? "read" : t_errno(errno),
                   found > 0 ? "read" : t_errno(errno));
    }
    file = open("file", O_RDWR | O_CREAT, 0600);
    NEED(file >= 0);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    SHOW(readlink(link, path, sizeof path));
    SHOW(readlink(link, path, 4));
    SHOW(unlink("file"));
    SHOW(readlink(link, path, sizeof path));
    SHOW(open(link, O_RDWR) >= 0);
    SHOW(chdir("/proc/self/cwd"));
    SHOW(syscall(SYS_getcwd, path, (size_t)4));
    for (int length = 0; length < PATH_MAX + NAME; length += NAME + 1)
        NEED(chdir("..") == 0 && rmdir(name) == 0);
    SHOW(readlink("/proc/self/cwd", path, sizeof path) > 0);
    DONE();
}
