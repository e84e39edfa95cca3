// execve(2) with a great many short variables: E2BIG where they and the pointers to them take more than a quarter of the
// stack, and a program that finds all of them where the stack is large enough.
// link: static
// memory: 256M
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { VARIABLES = 200000 };

static int count(void) {
    int count = 0;
    while (environ[count]) {
        if (strcmp(environ[count++], "A=b")) return -1;
    }
    return count;
}

static void try(const char *program, long megabytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    limit.rlim_cur = megabytes << 20;
    printf("a stack of %ld MiB: %d\n", megabytes, setrlimit(RLIMIT_STACK, &limit));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char **variables = calloc(VARIABLES + 1, sizeof *variables);
        for (int i = 0; i < VARIABLES; i++) variables[i] = "A=b";
        char *arguments[] = {"child", NULL};
        execve(program, arguments, variables);
        printf("execve: %s\n", errno == E2BIG ? "E2BIG" : strerror(errno));
        fflush(stdout);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
}

int main(int argc, char **argv) {
    if (strcmp(argv[0], "child") == 0) {
        printf("%d variables, all as they were given\n", count());
        return 0;
    }
    try("/proc/self/exe", 8);
    try("/proc/self/exe", 64);
    // One string may be as long as 32 pages less its zero.
    char *large = malloc(32 * 4096 + 1);
    memset(large, 'x', 32 * 4096);
    large[32 * 4096] = 0;
    char *arguments[] = {"child", large, NULL};
    char *none[] = {NULL};
    execve("/proc/self/exe", arguments, none);
    printf("a string of 32 pages: %s\n", errno == E2BIG ? "E2BIG" : strerror(errno));
    large[32 * 4096 - 1] = 0;
    fflush(stdout);
    execve("/proc/self/exe", arguments, none);
    printf("one byte less: %s\n", strerror(errno));
    return 1;
}
