// /proc/self: exe, cmdline, comm, status, stat, statm, environ, cwd, root, limits, auxv, task.
// args: one "two words"
// env: PROBE=value
#include "t.h"
#include <dirent.h>
#include <sys/prctl.h>

static char text[65536];
static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, t_errno(errno));
        return -1;
    }
    ssize_t n = 0, r;
    while ((r = read(fd, text + n, sizeof text - 1 - (size_t)n)) > 0)
        n += r;
    text[n] = 0;
    close(fd);
    return n;
}
static long field(const char *name) {
    char *p = strstr(text, name);
    return p ? strtol(p + strlen(name), NULL, 10) : -1;
}

int main(int argc, char **argv) {
    ssize_t n = slurp("/proc/self/cmdline");
    size_t expected = 0;
    for (int i = 0; i < argc; i++)
        expected += strlen(argv[i]) + 1;
    CHECK((size_t)n == expected);
    puts(text + strlen(text) + 1);
    char link[PATH_MAX] = {0};
    CHECK(readlink("/proc/self/exe", link, sizeof link - 1) > 0);
    CHECK(strcmp(strrchr(link, '/'), "/proc_self") == 0);
    struct stat st;
    CHECK(stat("/proc/self/exe", &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 10000);
    int fd = open("/proc/self/exe", O_RDONLY);
    char magic[4];
    CHECK(read(fd, magic, 4) == 4 && memcmp(magic, "\177ELF", 4) == 0);
    CHECK(readlink("/proc/self/cwd", link, sizeof link) > 0);
    SHOW(chdir("/tmp"));
    memset(link, 0, sizeof link);
    SHOW(readlink("/proc/self/cwd", link, sizeof link));
    puts(link);
    memset(link, 0, sizeof link);
    SHOW(readlink("/proc/self/root", link, sizeof link));
    slurp("/proc/self/comm");
    printf("comm %s", text);
    SHOW(prctl(PR_SET_NAME, "renamed"));
    slurp("/proc/self/comm");
    printf("comm %s", text);
    SHOW(slurp("/proc/self/status") > 300);
    CHECK(strncmp(text, "Name:\trenamed\n", 14) == 0);
    SHOW(field("\nPid:") == getpid());
    SHOW(field("\nTgid:") == getpid());
    SHOW(field("\nThreads:"));
    SHOW(field("\nVmRSS:") > 100);
    SHOW(field("\nVmSize:") > field("\nVmRSS:"));
    SHOW(field("\nUid:"));
    SHOW(slurp("/proc/self/stat") > 100);
    SHOW(field("") == getpid());
    CHECK(strstr(text, " (renamed) R ") != NULL);
    SHOW(slurp("/proc/self/statm") > 10);
    SHOW(field("") > 100);
    n = slurp("/proc/self/environ");
    CHECK(n > 0 && memmem(text, (size_t)n, "PROBE=value", 12) != NULL);
    SHOW(slurp("/proc/self/limits") > 500);
    CHECK(strstr(text, "Max open files") != NULL);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        printf("%.25s: %zu\n", line, strlen(line));
    SHOW(slurp("/proc/self/auxv") % 16);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", getpid());
    slurp(path);
    printf("comm %s", text);
    SHOW(slurp("/proc/999999/comm"));
    int tasks = 0;
    DIR *d = opendir("/proc/self/task");
    for (struct dirent *e; (e = readdir(d));)
        tasks += e->d_name[0] != '.';
    SHOW(tasks);
    slurp("/proc/thread-self/comm");
    printf("comm %s", text);
    CHECK(readlink("/proc/self", link, sizeof link) > 0);
    SHOW(atoi(link) == getpid());
    SHOW(open("/proc/self/none", O_RDONLY));
    SHOW(open("/proc/self/status", O_WRONLY));
    SHOW(mkdir("/proc/new", 0755) < 0);
    DONE();
}
