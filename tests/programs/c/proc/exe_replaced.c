// /proc/self/exe leads to the file that is executed, also when its path has become a link to /proc/self/exe.
#include "t.h"

static void copy_self(const char *to) {
    static char bytes[65536];
    int from = open("/proc/self/exe", O_RDONLY), copy = open(to, O_CREAT | O_WRONLY | O_TRUNC, 0700);
    NEED(from >= 0 && copy >= 0);
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
        NEED(write(copy, bytes, n) == n);
    NEED(close(copy) == 0 && close(from) == 0);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        enter_scratch();
        copy_self("program");
        execl("program", "program", "again", NULL);
        NEED(0);
    }
    char magic[4] = {0};
    struct stat before, after;
    NEED(stat("program", &before) == 0);
    NEED(unlink("program") == 0 && symlink("/proc/self/exe", "program") == 0);
    int fd = open("/proc/self/exe", O_RDONLY);
    SHOW(fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0);
    SHOW(stat("program", &after) == 0 && after.st_ino == before.st_ino && after.st_nlink == 0);
    (void)argv;
}
