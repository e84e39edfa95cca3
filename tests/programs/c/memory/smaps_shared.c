// What /proc/self/smaps says of a page that two processes have (proc_pid_smaps(5)): dirty and shared after fork(2), each one's own once one
// has written to it. And of one that is locked.
#include "t.h"
#include <sys/wait.h>

// Prints the lines of the region that begins at `at` which tell of its pages.
static void show(const char *who, const char *at) {
    char line[512], begin[32];
    FILE *smaps = fopen("/proc/self/smaps", "r");
    bool here = false;
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)at);
    while (fgets(line, sizeof line, smaps)) {
        char name[32];
        unsigned kb;
        if (sscanf(line, "%31[A-Za-z_]: %u kB", name, &kb) == 2) {
            if (here && (strstr(name, "Shared_") || strstr(name, "Private_") || !strcmp(name, "Rss") || !strcmp(name, "Pss") ||
                         !strcmp(name, "Locked")) &&
                !strstr(name, "Hugetlb"))
                printf("%s %s %u\n", who, name, kb);
        } else if (here && !strncmp(line, "VmFlags:", 8)) {
            printf("%s lo %d\n", who, strstr(line, " lo ") != NULL || strstr(line, " lo\n") != NULL);
        } else if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) {
            here = !strncmp(line, begin, strlen(begin));
        }
    }
    fclose(smaps);
    fflush(stdout);
}

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
    return 0;
}
