// Sixty programs are started one after the other, each by fork and exec, and waited for.
// link: static
// machines: all
#include "t.h"
#include <sys/wait.h>

#define PROGRAMS 60

int main(int argc, char **argv) {
    if (argc > 1)
        return atoi(argv[1]);
    int ended = 0;
    for (int i = 0; i < PROGRAMS; i++) {
        pid_t child = fork();
        if (child == 0) {
            char number[16];
            snprintf(number, sizeof number, "%d", i);
            execl("/proc/self/exe", "child", number, NULL);
            _exit(99);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        ended += WIFEXITED(status) && WEXITSTATUS(status) == i;
    }
    SHOW(ended);
    DONE();
}
