// execve replaces the program; argv and environ are the new ones; descriptors stay but those marked.
#include "t.h"
#include <sys/wait.h>

int main(int argc, char **argv) {
    if (argc > 1) {
        printf("second life: %s, %s\n", argv[1], getenv("LIFE"));
        SHOW(fcntl(100, F_GETFD));
        SHOW(fcntl(101, F_GETFD));
        return 9;
    }
    dup2(1, 100);
    dup3(1, 101, O_CLOEXEC);
    char *environment[] = {"LIFE=two", NULL}, *arguments[] = {argv[0], "again", NULL}, *none[] = {"none", NULL};
    SHOW(execve("/nowhere", none, environment));
    SHOW(execve("/tmp", none, environment));
    execve("/proc/self/exe", arguments, environment);
    return 1;
}
