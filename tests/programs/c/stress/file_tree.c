// Threads that make, remove, move, exchange and list the same few names at once: the tree stays a tree, and its counts right.
// machines: all
// flags: -pthread
#include "stress.h"
#include <dirent.h>
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

// A path of up to three names.
static const char *path(void) {
    static __thread char paths[4][64];
    static __thread unsigned turn;
    char *path = paths[turn++ % 4];
    switch (below(3)) {
    case 0: snprintf(path, 64, "r%u", below(5)); break;
    case 1: snprintf(path, 64, "r%u/r%u", below(5), below(3)); break;
    case 2: snprintf(path, 64, "r%u/r%u/r%u", below(5), below(3), below(3)); break;
    }
    return path;
}

static void list(const char *name) {
    DIR *directory = opendir(name);
    if (!directory)
        return;
    while (readdir(directory)) {
    }
    closedir(directory);
}

static void stress_step(unsigned thread) {
    (void)thread;
    struct stat status;
    switch (below(11)) {
    case 0:
    case 1: mkdir(path(), 0777); break;
    case 2: rmdir(path()); break;
    case 3:
    case 4: rename(path(), path()); break;
    case 5: syscall(SYS_renameat2, AT_FDCWD, path(), AT_FDCWD, path(), RENAME_EXCHANGE); break;
    case 6: close(open(path(), O_CREAT | O_RDWR, 0600)); break;
    case 7: unlink(path()); break;
    case 8: (void)!link(path(), path()); break;
    case 9: list(path()); break;
    case 10: stat(path(), &status); break;
    }
}

// Removes all below a directory; every directory has as many links as it should.
static void clear(const char *name, int depth) {
    NEED(depth < 1000);
    struct stat status;
    NEED(stat(name, &status) == 0);
    unsigned long directories = 0;
    DIR *directory = opendir(name);
    NEED(directory);
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char inner[PATH_MAX];
        snprintf(inner, sizeof inner, "%s/%s", name, entry->d_name);
        struct stat of_entry;
        NEED(lstat(inner, &of_entry) == 0);
        if (S_ISDIR(of_entry.st_mode)) {
            directories++;
            clear(inner, depth + 1);
            CHECK(rmdir(inner) == 0);
        } else {
            CHECK(of_entry.st_nlink > 0);
            CHECK(unlink(inner) == 0);
        }
    }
    closedir(directory);
    if (depth > 0)
        CHECK(status.st_nlink == directories + 2 || status.st_nlink == 1);
}

int main(void) {
    enter_scratch();
    stress();
    clear(".", 0);
    DIR *directory = opendir(".");
    int left = 0;
    while (readdir(directory))
        left++;
    SHOW(left);
    // A deep one is removed with what it stands in.
    enum { DEPTH = 3000 };
    for (int i = 0; i < DEPTH; i++)
        NEED(mkdir("deep", 0700) == 0 && chdir("deep") == 0);
    for (int i = 0; i < DEPTH; i++)
        NEED(chdir("..") == 0 && rmdir("deep") == 0);
    puts("removed");
    DONE();
}
