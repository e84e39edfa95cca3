// getcwd(2) of a directory that the root does not lead to: of another mount namespace. The path is that of its own
// tree, behind "(unreachable)", and is not written to a buffer that is too small.
#include "t.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { SHARED = 40 };

static void show_directory(void) {
    char path[PATH_MAX], small[32];
    memset(small, 'A', sizeof small);
    SHOW(syscall(SYS_getcwd, small, 1));
    SHOW(memchr(small, 0, sizeof small) == NULL && small[0] == 'A');
    long length = syscall(SYS_getcwd, path, sizeof path);
    SHOW(length < 0 ? -1 : 0);
    if (length < 0)
        return;
    CHECK(length == (long)strlen(path) + 1);
    // Without the name that is another each time.
    char *name = strstr(path, "coracle-test-");
    if (name)
        memset(name, 'X', strlen("coracle-test-XXXXXX"));
    puts(path);
}

int main(void) {
    enter_scratch();
    NEED(mkdir("m", 0755) == 0);
    int to_child[2], to_parent[2];
    char c;
    NEED(pipe(to_child) == 0 && pipe(to_parent) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(to_child[1]);
        NEED(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
        NEED(mount("/", "m", NULL, MS_BIND | MS_REC, NULL) == 0);
        NEED(dup2(open("m", O_PATH | O_DIRECTORY | O_NOFOLLOW), SHARED) == SHARED);
        NEED(write(to_parent[1], "a", 1) == 1);
        NEED(read(to_child[0], &c, 1) == 1);
        exit(t_failures);
    }
    close(to_parent[1]);
    NEED(read(to_parent[0], &c, 1) == 1);
    int shared = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, child, 0), SHARED, 0);
    NEED(shared >= 0);
    puts("of another namespace");
    SHOW(fchdir(shared));
    show_directory();
    NEED(write(to_child[1], "a", 1) == 1);
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    DONE();
}
