/*
 * calls.c: makes one kind of system call in a loop, as often as it is told: `calls KIND COUNT`. What the machine executes for twice the
 * count, less what it does for the count, is the cost of the calls with all that belongs to them. bench_mark() is called after each
 * BLOCK of them, where the counting plugin can log arrivals: what lies between two is the cost of a block.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls between two marks. tests/tests/tracecost.rs knows it. */
#define BLOCK 32

/* Not inlined, and not empty, so that every call is a jump to this address. */
__attribute__((noinline)) void bench_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void null(void)
{
    for (int i = 0; i < BLOCK; i++) {
        syscall(SYS_getppid);
    }
}

static int ends[2];

/* Half of the calls write, and half read. */
static void through_pipe(void)
{
    static char bytes[16] = "sixteen bytes of";
    for (int i = 0; i < BLOCK / 2; i++) {
        if (write(ends[1], bytes, sizeof bytes) != sizeof bytes || read(ends[0], bytes, sizeof bytes) != sizeof bytes) {
            fail("pipe");
        }
    }
}

/* Half of the calls open, and half close. */
static void open_file(void)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        int file = open("/dev/null", O_RDONLY);
        if (file < 0 || close(file)) {
            fail("open");
        }
    }
}

int main(int argc, char **argv)
{
    const char *kind = argc == 3 ? argv[1] : "";
    void (*block)(void) = strcmp(kind, "null") == 0   ? null
                          : strcmp(kind, "pipe") == 0 ? through_pipe
                          : strcmp(kind, "open") == 0 ? open_file
                                                      : NULL;
    if (!block) {
        fprintf(stderr, "usage: calls null|pipe|open COUNT\n");
        return 2;
    }
    if (pipe(ends)) {
        fail("pipe");
    }
    for (long left = atol(argv[2]); left > 0; left -= BLOCK) {
        bench_mark();
        block();
    }
    return 0;
}
