// What the kernel holds for a program is bounded before pages are: when names, bytes in pipes, locks or descriptors are refused, a
// process can still be started and have memory, and files can still be opened, but for what is full. Not run on Linux, which has
// bounds of other kinds.
// memory: 48M
// machines: all
// linux: no
// stdout-has: there is room beside it
#include "t.h"
#include <sys/resource.h>
#include <sys/wait.h>

#define PAGE 4096
// Pages that a process can still have.
enum { PAGES = 64 };

static void room_for_a_process(const char *beside) {
    pid_t pid = fork();
    if (pid == 0) {
        char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            _exit(2);
        for (int i = 0; i < PAGES; i++)
            at[i * PAGE] = 1;
        _exit(0);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        printf("FAILED no room beside %s: pid %d, status %#x\n", beside, pid, status);
        t_failures++;
    }
}

static void room_for_a_pipe(void) {
    int ends[2];
    char text[5] = "";
    CHECK(pipe(ends) == 0);
    CHECK(write(ends[1], "boat", 4) == 4 && read(ends[0], text, 4) == 4 && strcmp(text, "boat") == 0);
    close(ends[0]);
    close(ends[1]);
}

static void names(void) {
    char name[64];
    NEED(mkdir("names", 0755) == 0);
    long count = 0;
    for (;; count++) {
        snprintf(name, sizeof name, "names/%ld", count);
        if (symlink("where it leads, in some more bytes", name) < 0)
            break;
    }
    CHECK(errno == ENOSPC);
    CHECK(count > 10000);
    room_for_a_process("names");
    room_for_a_pipe();
    int fd = open("/dev/null", O_RDONLY);
    CHECK(fd >= 0);
    close(fd);
    while (count-- > 0) {
        snprintf(name, sizeof name, "names/%ld", count);
        NEED(unlink(name) == 0);
    }
    NEED(rmdir("names") == 0);
}

// Fills pipes until no other can be had, or be written to.
static void pipes(void) {
    static char block[65536];
    static int ends[60000];
    long count = 0;
    while (pipe2(ends + count, O_NONBLOCK) == 0) {
        count += 2;
        ssize_t done = write(ends[count - 1], block, sizeof block);
        if (done < 0) {
            CHECK(errno == ENOMEM);
            break;
        }
    }
    CHECK(count > 500);
    room_for_a_process("pipes");
    for (long i = 0; i < count; i++)
        close(ends[i]);
}

static void descriptors(void) {
    static int fds[100000];
    long count = 0;
    while (count < 100000 && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
        count++;
    CHECK(errno == ENFILE);
    CHECK(count > 5000);
    room_for_a_process("descriptors");
    for (long i = 0; i < count; i++)
        close(fds[i]);
}

int main(void) {
    enter_scratch();
    const struct rlimit limit = {100000, 100000};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    // Twice: all of it comes back.
    for (int round = 0; round < 2; round++) {
        names();
        pipes();
        descriptors();
        room_for_a_process("nothing");
        room_for_a_pipe();
    }
    if (t_failures == 0)
        puts("there is room beside it");
    DONE();
}
