// For tests of images that are paged in from a disk: reads /large, a file of the image, in three ways.
// `paged`: reads it from its start to its end. `paged OFFSET`: reads a page that can't be read, then touches it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static void bus(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    const char *text = info->si_code == BUS_ADRERR ? "SIGBUS, BUS_ADRERR\n" : "SIGBUS of another kind\n";
    _exit(write(1, text, strlen(text)) < 0 ? 1 : 3);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int fd = open("/large", O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return 1;
    static unsigned char page[PAGE];
    if (argc < 2) {
        unsigned long sum = 0;
        ssize_t len;
        while ((len = read(fd, page, PAGE)) > 0)
            for (ssize_t i = 0; i < len; i++)
                sum = sum * 31 + page[i];
        printf("%ld bytes, sum %lx\n", (long)st.st_size, sum);
        return len < 0 ? 2 : 3;
    }
    off_t at = atol(argv[1]);
    const char *result = pread(fd, page, PAGE, at) < 0 ? (errno == EIO ? "EIO" : "another error") : "bytes";
    printf("the page: %s\n", result);
    printf("the page before it: %s\n", pread(fd, page, PAGE, at - PAGE) == PAGE ? "bytes" : "no bytes");
    unsigned char *map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    struct sigaction action = {.sa_sigaction = bus, .sa_flags = SA_SIGINFO};
    if (map == MAP_FAILED || sigaction(SIGBUS, &action, NULL) != 0)
        return 1;
    printf("mapped, the page before it: %s\n", map[at - 1] == page[PAGE - 1] ? "the same" : "another");
    printf("mapped, the page: %d\n", ((volatile unsigned char *)map)[at]);
    return 1;
}
