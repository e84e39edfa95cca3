// /proc/self/fd names what each descriptor is, and opens it again.
#include "t.h"
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static void show(const char *what, int fd) {
    char path[64], target[256] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    SHOW(readlink(path, target, sizeof target - 1) > 0);
    char *bracket = strchr(target, '[');
    if (bracket && bracket[1] >= '0' && bracket[1] <= '9')
        *bracket = 0;
    printf("%s -> %s\n", what, target);
}

int main(void) {
    // Whoever started this on Linux may have left more open.
    close_range(3, ~0u, 0);
    enter_scratch();
    SHOW(chdir("/tmp"));
    int fd = open("/tmp/coracle-proc-fd", O_RDWR | O_CREAT | O_TRUNC, 0600);
    show("file", fd);
    show("null", open("/dev/null", O_RDONLY));
    show("directory", open("/tmp", O_RDONLY));
    int p[2];
    NEED(pipe(p) == 0);
    show("pipe", p[0]);
    show("socket", socket(AF_INET, SOCK_STREAM, 0));
    show("eventfd", eventfd(0, 0));
    show("epoll", epoll_create1(0));
    write(fd, "content", 7);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    show_file(path);
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    show_file(path);
    SHOW(open("/proc/self/fd/999", O_RDONLY));
    // Names are those that are listed, and no others of the same number.
    static const char *const names[] = {"/proc/self/fd/+1", "/proc/self/fd/01", "/proc/self/fd/ 1", "/proc/self/fd/1 ", "/proc/self/fd/-1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        printf("%s: ", names[i]);
        SHOW(readlink(names[i], path, sizeof path));
    }
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    SHOW(count);
    unlink("/tmp/coracle-proc-fd");
    show("removed", fd);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "r");
    long pos = -1;
    CHECK(f && fscanf(f, "pos: %ld", &pos) == 1);
    SHOW(pos);
    DONE();
}
