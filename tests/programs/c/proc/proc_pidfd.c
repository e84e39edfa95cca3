// /proc/self/fdinfo of a pidfd: the process's number, and -1 once it was waited for; and the columns of /proc/net/softnet_stat.
#include "t.h"
#include <sys/wait.h>

static void show(int fd, pid_t child) {
    char path[64], line[128], name[32];
    int number;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "r");
    NEED(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%31[^:]: %d", name, &number) == 2 && (!strcmp(name, "Pid") || !strcmp(name, "NSpid")))
            printf("%s: %s\n", name, number == child ? "the child" : number == -1 ? "-1" : "another");
    fclose(file);
}

int main(void) {
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int fd = syscall(SYS_pidfd_open, child, 0);
    NEED(fd >= 0);
    show(fd, child);
    // One with O_NONBLOCK waits for nothing.
    siginfo_t info;
    int hasty = syscall(SYS_pidfd_open, child, O_NONBLOCK);
    SHOW((fcntl(hasty, F_GETFL) & O_NONBLOCK) != 0);
    SHOW(waitid(3, hasty, &info, WEXITED));
    SHOW(waitid(3, hasty, &info, WEXITED | WNOHANG));
    SHOW(fcntl(hasty, F_SETFL, 0));
    SHOW((fcntl(hasty, F_GETFL) & O_NONBLOCK) != 0);
    NEED(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    show(fd, child);
    FILE *file = fopen("/proc/net/softnet_stat", "r");
    NEED(file);
    char line[256];
    int words = 0;
    NEED(fgets(line, sizeof line, file));
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
        words += strlen(word) == 8;
    SHOW(words);
    fclose(file);
    DONE();
}
