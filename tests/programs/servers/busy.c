// Computes for ever, in two processes: one in functions of its own, the other mostly in the kernel.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static volatile long sum;

__attribute__((noinline, noipa)) static void burn(int rounds) {
    for (int i = 0; i < rounds; i++)
        sum += i;
}

__attribute__((noinline, noipa)) static void burn_often(void) {
    burn(200000);
    sum++;
}

__attribute__((noinline, noipa)) static void ask_kernel(int fd) {
    char text[512];
    for (int i = 0; i < 100; i++)
        sum += pread(fd, text, sizeof text, 0);
    sum++;
}

int main(void) {
    puts("busy");
    fflush(stdout);
    if (fork() == 0) {
        int fd = open("/proc/self/stat", O_RDONLY);
        for (;;)
            ask_kernel(fd);
    }
    for (;;)
        burn_often();
}
