// The directory of a thread has most of what that of its process has, but no threads below it: paths can't grow without an end.
#include "t.h"
#include <dirent.h>

static int listed(const char *path, const char *name) {
    DIR *directory = opendir(path);
    NEED(directory != NULL);
    int found = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        found += strcmp(entry->d_name, name) == 0;
    closedir(directory);
    return found;
}

int main(void) {
    char thread[64];
    snprintf(thread, sizeof thread, "/proc/self/task/%d", getpid());
    const char *names[] = {"task", "timerslack_ns", "comm", "fd", "maps", "stat", "status"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s: of the process %d, of the thread %d\n", names[i], listed("/proc/self", names[i]), listed(thread, names[i]));

    SHOW(chdir("/proc/self"));
    int levels = 0;
    snprintf(thread, sizeof thread, "task/%d", getpid());
    while (levels < 2000 && chdir(thread) == 0)
        levels++;
    SHOW(levels);
    SHOW(access("task", F_OK));
    SHOW(chdir("/"));
    DONE();
}
