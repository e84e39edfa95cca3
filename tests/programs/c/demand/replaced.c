// A program that is paged in from a disk goes on without its name, and is executed without it; a file of that name is another one.
// linux: no
// demand: yes
// stdout-has: open(path, O_RDWR) = -1 ETXTBSY
// stdout-has: unlink(path) = 0
// stdout-has: cold functions are right
// stdout-has: second runs, from a file without a name
// stdout-has: third runs, from another file
// stdout-has: the two differ: 1
#include "t.h"
#include <sys/wait.h>

#define COLD 64
#define PAGE 4096

__asm__(".text\n"
        ".balign 4096\n"
        "cold:\n"
        ".set number, 0\n"
        ".rept 64\n"
        "  movl $number * 3, %eax\n"
        "  ret\n"
        "  .balign 4096\n"
        "  .set number, number + 1\n"
        ".endr\n"
        ".previous\n");
extern char cold[] __attribute__((visibility("hidden")));

static bool cold_is_right(void) {
    char *volatile start = cold;
    for (int i = 0; i < COLD; i++)
        if (((int (*)(void))(void *)(start + (size_t)i * PAGE))() != i * 3)
            return false;
    return true;
}

// Runs the file in a child process, with one argument.
static void run(int fd, const char *word) {
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        char *arguments[] = {"replaced", (char *)word, NULL};
        fexecve(fd, arguments, environ);
        _exit(1);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        const char *from = strcmp(argv[1], "third") == 0 ? "from another file" : "from a file without a name";
        printf("%s runs, %s\n", argv[1], from);
        return cold_is_right() ? 0 : 1;
    }
    char path[PATH_MAX] = {0};
    NEED(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0);
    SHOW(open(path, O_RDWR));
    SHOW(unlink(path));
    puts(cold_is_right() ? "cold functions are right" : "cold functions are wrong");
    run(fd, "second");
    // The same bytes, in memory.
    int copy = open(path, O_CREAT | O_EXCL | O_WRONLY, 0755);
    NEED(copy >= 0);
    char bytes[1 << 14];
    ssize_t len;
    while ((len = read(fd, bytes, sizeof bytes)) > 0)
        NEED(write(copy, bytes, len) == len);
    NEED(len == 0 && close(copy) == 0);
    copy = open(path, O_RDONLY);
    NEED(copy >= 0);
    run(copy, "third");
    struct stat old, new;
    NEED(fstat(fd, &old) == 0 && fstat(copy, &new) == 0);
    printf("the two differ: %d\n", old.st_ino != new.st_ino);
    CHECK(old.st_size == new.st_size);
    DONE();
}
