// A child writes into a pipe, the parent reads to its end; SIGCHLD comes; posix_spawn and vfork too.
#include "t.h"
#include <spawn.h>
#include <sys/wait.h>

static volatile int children;
static void handler(int signal) { (void)signal, children++; }

int main(int argc, char **argv) {
    if (argc > 1) {
        puts("spawned");
        return 4;
    }
    signal(SIGCHLD, handler);
    int p[2], status;
    NEED(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], 1);
        close(p[0]);
        close(p[1]);
        for (int i = 0; i < 1000; i++)
            printf("line %d\n", i);
        fflush(stdout);
        _exit(0);
    }
    close(p[1]);
    char b[1000];
    long total = 0, n;
    while ((n = read(p[0], b, sizeof b)) > 0 || (n < 0 && errno == EINTR))
        total += n > 0 ? n : 0;
    SHOW(total);
    while (waitpid(pid, &status, 0) < 0) {
    }
    SHOW(status);
    SHOW(children);
    char *arguments[] = {argv[0], "spawned", NULL};
    int spawned = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, NULL);
    while (waitpid(pid, &status, 0) < 0) {
    }
    SHOW(spawned);
    SHOW(WEXITSTATUS(status));
    pid = vfork();
    if (pid == 0)
        _exit(3);
    while (waitpid(pid, &status, 0) < 0) {
    }
    SHOW(WEXITSTATUS(status));
    DONE();
}
