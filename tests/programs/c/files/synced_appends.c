// Two files grow in turns, each synced after every write: their blocks lie between those of the other. What was synced is read from the disk, where one has
// the files, and is what was written; so is what was written over, also through a mapping.
#include "t.h"
#include <sys/mman.h>
#include <sys/stat.h>

enum { FILES = 2, MOST = 400 * 1000 };

static unsigned char expected[FILES][MOST];
static size_t sizes[FILES];
static int descriptors[FILES];

static void check(int number) {
    static unsigned char found[MOST];
    int fd = descriptors[number];
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    struct stat status;
    fstat(fd, &status);
    ssize_t len = pread(fd, found, MOST, 0);
    if ((size_t)len != sizes[number] || (size_t)status.st_size != sizes[number]
        || memcmp(found, expected[number], sizes[number]) != 0)
        printf("file %d differs at %zu bytes\n", number, sizes[number]);
}

static void append(int number, size_t len, int seed) {
    unsigned char *bytes = expected[number] + sizes[number];
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(seed + i * 7);
    if (write(descriptors[number], bytes, len) != (ssize_t)len)
        perror("write");
    sizes[number] += len;
}

static void sync_file(int number, int step) {
    if ((step % 3 == 0 ? fsync(descriptors[number]) : fdatasync(descriptors[number])) < 0)
        perror("sync");
}

int main(void) {
    enter_scratch();
    const char *names[FILES] = {"one", "two"};
    for (int i = 0; i < FILES; i++)
        descriptors[i] = open(names[i], O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    for (int step = 0; step < 40; step++) {
        for (int i = 0; i < FILES; i++) {
            append(i, 1 + (size_t)(step * 911 + i * 613) % 9000, step);
            sync_file(i, step);
            check(i);
        }
    }
    puts("appended");
    // Over whole pages in the middle, and the last one.
    for (int step = 0; step < 20; step++) {
        size_t at = (size_t)step * 4096 * 2;
        for (size_t i = 0; i < 8192; i++)
            expected[0][at + i] = (unsigned char)(step + i * 3);
        // O_APPEND would have pwrite(2) append on Linux.
        int fd = open("one", O_WRONLY);
        SHOW(pwrite(fd, expected[0] + at, 8192, (off_t)at) == 8192);
        SHOW(fdatasync(fd));
        close(fd);
        check(0);
    }
    // The last page by a mapping, and then longer.
    size_t last = sizes[1] / 4096 * 4096;
    unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[1], (off_t)last);
    page[0] = expected[1][last] = 'm';
    SHOW(msync(page, 4096, MS_SYNC));
    munmap(page, 4096);
    append(1, 10, 5);
    SHOW(fsync(descriptors[1]));
    check(1);
    SHOW(ftruncate(descriptors[1], (off_t)last + 4096 * 2));
    memset(expected[1] + sizes[1], 0, last + 4096 * 2 - sizes[1]);
    sizes[1] = last + 4096 * 2;
    append(1, 5000, 9);
    SHOW(fdatasync(descriptors[1]));
    check(1);
    DONE();
}
