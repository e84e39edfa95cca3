// The old getdents: its records have the kind as their last byte.
// arch: x86-64
#include "t.h"
#include <dirent.h>

struct entry {
    unsigned long inode, next;
    unsigned short len;
    char name[];
};

int main(void) {
#ifdef SYS_getdents
    enter_scratch();
    NEED(mkdir("directory", 0700) == 0);
    write_file("a_file", "");
    NEED(symlink("a_file", "a_link") == 0);
    char buffer[1024];
    int fd = open(".", O_RDONLY | O_DIRECTORY), seen = 0;
    NEED(fd >= 0);
    SHOW(syscall(SYS_getdents, fd, buffer, 8));
    SHOW(syscall(SYS_getdents, fd, (void *)8, sizeof buffer));
    for (;;) {
        long n = syscall(SYS_getdents, fd, buffer, sizeof buffer);
        NEED(n >= 0);
        if (n == 0)
            break;
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->len) {
            struct entry *e = (struct entry *)(buffer + at);
            char kind = buffer[at + e->len - 1];
            struct stat s;
            NEED(lstat(e->name, &s) == 0);
            CHECK(e->len % 8 == 0 && e->inode != 0);
            CHECK(strcmp(e->name, "..") == 0 || s.st_ino == e->inode);
            CHECK(kind == (char)IFTODT(s.st_mode));
            seen++;
        }
    }
    SHOW(seen);
    close(fd);
    fd = open("a_file", O_RDONLY);
    SHOW(syscall(SYS_getdents, fd, buffer, sizeof buffer));
    SHOW(syscall(SYS_getdents, -1, buffer, sizeof buffer));
#endif
    DONE();
}
