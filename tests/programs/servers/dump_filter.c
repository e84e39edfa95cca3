// Has memory of several kinds, writes its coredump_filter, shows that a child and a program that is executed have it, and crashes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(const char *who) {
    char text[32] = "";
    int fd = open("/proc/self/coredump_filter", O_RDONLY);
    read(fd, text, sizeof text - 1);
    close(fd);
    printf("%s %s", who, text);
    fflush(stdout);
}

// 16 pages that repeat a word, which stands nowhere as a whole.
static void fill(const char *name, int flags, int fd, int advice) {
    char *memory = mmap(0, 16 << 12, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED) {
        perror(name);
        exit(2);
    }
    for (int at = 0; at + 16 <= 16 << 12; at += 16) {
        memset(memory + at, '=', 16);
        memcpy(memory + at, name, strlen(name));
    }
    if (advice)
        madvise(memory, 16 << 12, advice);
}

int main(int argc, char **argv) {
    if (strcmp(argv[1], "shown") == 0) {
        show("executed");
        return 0;
    }
    int fd = open("/proc/self/coredump_filter", O_WRONLY);
    if (write(fd, argv[1], strlen(argv[1])) < 0)
        perror("write");
    close(fd);
    show("own");
    if (fork() == 0) {
        show("child");
        execl("/proc/self/exe", argv[0], "shown", (char *)0);
        _exit(1);
    }
    wait(0);
    fill("anonymous", MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill("shared", MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fill("left-out", MAP_PRIVATE | MAP_ANONYMOUS, -1, MADV_DONTDUMP);
    int file = open("/tmp/mapped", O_RDWR | O_CREAT, 0600);
    ftruncate(file, 16 << 12);
    fill("of-a-file", MAP_SHARED, file, 0);
    if (argc > 2 && strcmp(argv[2], "undumpable") == 0)
        prctl(PR_SET_DUMPABLE, 0);
    if (argc > 2 && strcmp(argv[2], "limited") == 0)
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, RLIM_INFINITY});
    *(volatile int *)8 = 1;
}
