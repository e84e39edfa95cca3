// Reading directories: every entry once, with its type, in any order; seeking back; directories of a thousand files.
// data: yes
// demand: also
#include "t.h"
#include <dirent.h>

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void list(const char *path) {
    struct dirent **entry;
    int n = scandir(path, &entry, NULL, by_name);
    for (int i = 0; i < n; i++)
        printf("%s %d\n", entry[i]->d_name, entry[i]->d_type);
}

int main(void) {
    list(data_file("tree"));
    enter_scratch();
    mkdir("d", 0755);
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/file-%d", i);
        NEED(close(open(name, O_CREAT | O_WRONLY, 0644)) == 0);
    }
    DIR *dir = opendir("d");
    int seen = 0, dots = 0;
    static char mark[1000];
    struct dirent *e;
    while ((e = readdir(dir))) {
        int i;
        if (sscanf(e->d_name, "file-%d", &i) == 1) {
            CHECK(!mark[i]);
            mark[i] = 1;
            seen++;
        } else
            dots++;
    }
    SHOW(seen);
    SHOW(dots);
    rewinddir(dir);
    CHECK(readdir(dir) != NULL);
    closedir(dir);
    // A small buffer gives few entries a time, one too small is refused.
    int fd = open("d", O_RDONLY | O_DIRECTORY);
    char small[8], buffer[200];
    SHOW(syscall(SYS_getdents64, fd, small, sizeof small));
    seen = 0;
    long n;
    while ((n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; seen++)
            at += *(unsigned short *)(buffer + at + 16);
    SHOW(n);
    SHOW(seen);
    SHOW(syscall(SYS_getdents64, 1, buffer, sizeof buffer) < 0);
    // Entries removed while reading do not disturb the others.
    dir = opendir("d");
    while ((e = readdir(dir)))
        if (e->d_name[0] != '.') {
            char name[300];
            snprintf(name, sizeof name, "d/%s", e->d_name);
            CHECK(unlink(name) == 0);
        }
    closedir(dir);
    SHOW(rmdir("d"));
    list(".");
    DONE();
}
