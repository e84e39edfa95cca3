// What /proc/self/smaps says of a page that two processes have (proc_pid_smaps(5)): dirty and shared after fork(2), each one's own once one
// has written to it. And of those that are locked, are shared memory, or of a file; and what smaps_rollup begins with.
#include "t.h"
#include <sys/wait.h>

// Prints the lines of the region that begins at `at` which tell of its pages, or one of them.
static void show_only(const char *who, const char *at, const char *only) {
    char line[512], begin[32];
    FILE *smaps = fopen("/proc/self/smaps", "r");
    bool here = false;
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)at);
    while (fgets(line, sizeof line, smaps)) {
        char name[32];
        unsigned kb;
        if (sscanf(line, "%31[A-Za-z_]: %u kB", name, &kb) == 2) {
            if (here && (!only || !strcmp(name, only)) && (strstr(name, "Shared_") || strstr(name, "Private_") || !strcmp(name, "Rss") || !strcmp(name, "Pss") ||
                         !strcmp(name, "Locked") || !strcmp(name, "Anonymous")) &&
                !strstr(name, "Hugetlb"))
                printf("%s %s %u\n", who, name, kb);
        } else if (here && !only && !strncmp(line, "VmFlags:", 8)) {
            printf("%s lo %d", who, strstr(line, " lo ") != NULL || strstr(line, " lo\n") != NULL);
            printf(" lf %d\n", strstr(line, " lf ") != NULL || strstr(line, " lf\n") != NULL);
        } else if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) {
            here = !strncmp(line, begin, strlen(begin));
        }
    }
    fclose(smaps);
    fflush(stdout);
}

static void show(const char *who, const char *at) { show_only(who, at, NULL); }

int main(void) {
    char *map = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *page = map + 4096;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    show("untouched", page);
    *page = 1;
    show("alone", page);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        show("child", page);
        *page = 2;
        show("child that wrote", page);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    show("parent after it", page);
    mlock(page, 4096);
    show("locked", page);
    munlock(page, 4096);
    show("not any more", page);
    char *lazy = map + 2 * 4096;
    mprotect(lazy, 4096, PROT_READ | PROT_EXEC);
    CHECK(syscall(SYS_mlock2, lazy, 4096, 1 /* MLOCK_ONFAULT */) == 0);
    show("locked when touched", lazy);
    char *shared = mmap(NULL, 3 * 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mprotect(shared + 4096, 4096, PROT_READ | PROT_WRITE);
    shared[4096] = 1;
    show_only("shared memory", shared + 4096, "Anonymous");

    // Its range is that of all mappings.
    unsigned long from, to, first = 0, last = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r"), *rollup = fopen("/proc/self/smaps_rollup", "r");
    NEED(maps && rollup && fgets(line, sizeof line, rollup));
    size_t name = strcspn(line, "[");
    CHECK(sscanf(line, "%lx-%lx ---p 00000000 00:00 0", &first, &last) == 2);
    printf("%d %s", (int)name, line + name);
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && !strstr(line, "[vsyscall]")) {
            CHECK(from >= first && to <= last);
            if (from == first)
                puts("begins with a mapping");
            if (to == last)
                puts("ends with one");
        }
    return 0;
}
