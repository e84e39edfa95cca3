// Threads that make, remove, move, exchange and list the same few names at once: the tree stays a tree, and its counts right.
// machines: all
// flags: -pthread
#include "stress.h"
#include <dirent.h>
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

// A path of so many names.
static const char *path_of(unsigned names) {
    static __thread char paths[4][64];
    static __thread unsigned turn;
    char *path = paths[turn++ % 4];
    switch (names) {
    case 1: snprintf(path, 64, "r%u", below(5)); break;
    case 2: snprintf(path, 64, "r%u/r%u", below(5), below(3)); break;
    case 3: snprintf(path, 64, "r%u/r%u/r%u", below(5), below(3), below(3)); break;
    }
    return path;
}

// A path of up to three names.
static const char *path(void) { return path_of(1 + below(3)); }

// Moves something. Seldom downwards: the tree would become so deep that taking it down takes minutes.
static void move(unsigned flags) {
    unsigned from = 1 + below(3), to = flags ? from : 1 + below(from);
    if (!below(256))
        to = 1 + below(3);
    syscall(SYS_renameat2, AT_FDCWD, path_of(from), AT_FDCWD, path_of(to), flags);
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
    case 4: move(0); break;
    case 5: move(RENAME_EXCHANGE); break;
    case 6: close(open(path(), O_CREAT | O_RDWR, 0600)); break;
    case 7: unlink(path()); break;
    case 8: (void)!link(path(), path()); break;
    case 9: list(path()); break;
    case 10: stat(path(), &status); break;
    }
}

// The first entry of the working directory; how many directories are in it.
static int first_entry(char name[8], unsigned long *directories) {
    DIR *directory = opendir(".");
    NEED(directory);
    int found = 0;
    struct dirent *entry;
    *directories = 0;
    while ((entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (!found++)
            snprintf(name, 8, "%.7s", entry->d_name);
        *directories += entry->d_type == DT_DIR;
    }
    closedir(directory);
    return found;
}

// Removes all below the working directory; every directory has as many links as it should. Moves have made the tree
// deeper than a path is long, or than a process has descriptors: one directory is open at a time.
static void clear(int depth) {
    char name[8];
    unsigned long directories;
    struct stat status;
    NEED(stat(".", &status) == 0);
    int left = first_entry(name, &directories);
    if (depth > 0)
        CHECK(status.st_nlink == directories + 2 || status.st_nlink == 1);
    for (; left; left = first_entry(name, &directories)) {
        NEED(lstat(name, &status) == 0);
        CHECK(status.st_nlink > 0);
        if (S_ISDIR(status.st_mode)) {
            NEED(chdir(name) == 0);
            clear(depth + 1);
            NEED(chdir("..") == 0 && rmdir(name) == 0);
        } else {
            NEED(unlink(name) == 0);
        }
    }
}

int main(void) {
    enter_scratch();
    stress();
    clear(0);
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
