// A program's file can't be written while it runs, nor run while it may be written (ETXTBSY); it can be replaced.
#include "t.h"
#include <sys/wait.h>

static void copy(const char *from, const char *to) {
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_CREAT | O_WRONLY, 0755);
    ssize_t n;
    NEED(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof bytes)) > 0)
        NEED(write(out, bytes, (size_t)n) == n);
    close(in);
    close(out);
}
static int try_open(const char *name, int flags) {
    int fd = open(name, flags);
    return fd < 0 ? -1 : close(fd);
}
// Runs `name` until the pipe's other end is closed; gives its status, or 100 and the errno of the exec.
static int start(const char *name, int out[2], int in[2]) {
    NEED(!pipe(out) && !pipe(in));
    int pid = fork();
    if (!pid) {
        dup2(out[0], 0);
        dup2(in[1], 1);
        close(out[1]);
        execl(name, name, "child", NULL);
        _exit(errno == ETXTBSY ? 100 : 101);
    }
    close(out[0]);
    close(in[1]);
    return pid;
}
static int finish(int pid, int out[2], int in[2]) {
    int status;
    close(out[1]);
    close(in[0]);
    NEED(waitpid(pid, &status, 0) == pid);
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child")) {
        char byte = 'r';
        NEED(write(1, &byte, 1) == 1); // It runs.
        return read(0, &byte, 1) == 0 ? 7 : 8;
    }
    SHOW(try_open("/proc/self/exe", O_WRONLY));
    SHOW(try_open(argv[0], O_RDWR));
    SHOW(try_open(argv[0], O_RDONLY));
    enter_scratch();
    copy("/proc/self/exe", "program");
    int out[2], in[2];
    char byte;
    int pid = start("./program", out, in);
    SHOW(read(in[0], &byte, 1));
    SHOW(try_open("program", O_WRONLY));
    SHOW(try_open("program", O_RDONLY | O_TRUNC));
    SHOW(truncate("program", 0));
    SHOW(try_open("program", O_RDONLY));
    SHOW(chmod("program", 0700));
    SHOW(rename("program", "renamed"));
    SHOW(try_open("renamed", O_WRONLY));
    SHOW(finish(pid, out, in));
    SHOW(try_open("renamed", O_WRONLY));
    int writer = open("renamed", O_WRONLY);
    CHECK(writer >= 0);
    pid = start("./renamed", out, in);
    SHOW(finish(pid, out, in));
    close(writer);
    pid = start("./renamed", out, in);
    SHOW(read(in[0], &byte, 1));
    SHOW(unlink("renamed"));
    copy("/proc/self/exe", "renamed");
    SHOW(try_open("renamed", O_WRONLY));
    SHOW(finish(pid, out, in));
    DONE();
}
