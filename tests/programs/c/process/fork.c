// fork: the child has its own copy of memory, shares open files, and its status is waited for.
#include "t.h"
#include <sys/wait.h>

int main(void) {
    enter_scratch();
    int fd = open("f", O_RDWR | O_CREAT, 0600), status;
    static int value = 1;
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        value = 2;
        *shared = 3;
        write(fd, "child", 5);
        _exit(7);
    }
    CHECK(pid > 0);
    SHOW(waitpid(pid, &status, 0) == pid);
    SHOW(WIFEXITED(status));
    SHOW(WEXITSTATUS(status));
    SHOW(value);
    SHOW(*shared);
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(wait(&status));
    pid = fork();
    if (pid == 0) {
        raise(SIGTERM);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    SHOW(WIFSIGNALED(status));
    SHOW(WTERMSIG(status));
    SHOW(waitpid(-1, &status, WNOHANG));
    DONE();
}
