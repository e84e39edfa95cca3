// Block special files, one step at a time: the argument says which. A step prints FAILED lines for what does not hold.
#include "t.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

// The disk.
#define DISK (getenv("DISK") ? getenv("DISK") : "/dev/vda")

enum { PAGE = 4096, BYTES = 3 << 20 };

// The bytes that are written.
static unsigned char *pattern_bytes(void) {
    unsigned char *bytes = malloc(BYTES);
    NEED(bytes != NULL);
    for (size_t at = 0; at < BYTES; at++)
        bytes[at] = pattern(at);
    return bytes;
}

static long number_in(const char *path) {
    char text[64] = "";
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtol(text, NULL, 10);
}

// What stat, ioctl, /sys and /proc say of a disk agrees.
static void describe(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/dev/%s", name);
    struct stat st;
    NEED(stat(path, &st) == 0);
    CHECK(S_ISBLK(st.st_mode));
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0);
    uint64_t bytes;
    unsigned long sectors;
    int logical, read_only;
    unsigned physical;
    CHECK(ioctl(fd, BLKGETSIZE64, &bytes) == 0 && ioctl(fd, BLKGETSIZE, &sectors) == 0);
    CHECK(ioctl(fd, BLKSSZGET, &logical) == 0 && ioctl(fd, BLKPBSZGET, &physical) == 0);
    CHECK(ioctl(fd, BLKROGET, &read_only) == 0);
    CHECK(ioctl(fd, TCGETS, &bytes) == -1 && errno == ENOTTY);
    CHECK(bytes == sectors * 512 && lseek(fd, 0, SEEK_END) == (off_t)bytes);
    snprintf(path, sizeof path, "/sys/class/block/%s/size", name);
    CHECK(number_in(path) == (long)sectors);
    snprintf(path, sizeof path, "/sys/class/block/%s/ro", name);
    CHECK(number_in(path) == read_only);
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", major(st.st_rdev), minor(st.st_rdev));
    CHECK(number_in(path) == (long)sectors);
    char line[128], text[4096] = "";
    snprintf(line, sizeof line, "%4d  %7d %10lu %s\n", major(st.st_rdev), minor(st.st_rdev), sectors / 2, name);
    int partitions = open("/proc/partitions", O_RDONLY);
    CHECK(read(partitions, text, sizeof text - 1) > 0 && strstr(text, line) != NULL);
    printf("%s: %lu sectors, blocks of %d and %u bytes, read-only %d\n", name, sectors, logical, physical, read_only);
    close(fd);
    close(partitions);
}

static void write_disk(int logical) {
    unsigned char *bytes = pattern_bytes(), *back = malloc(BYTES);
    int fd = open(DISK, O_RDWR);
    NEED(fd >= 0);
    // In odd pieces at odd places, so that pages are read before they are changed.
    for (int at = 0; at < BYTES;) {
        int len = 1 + (at * 7919L) % 70001;
        len = len < BYTES - at ? len : BYTES - at;
        CHECK(pwrite(fd, bytes + at, len, 512 + at) == len);
        at += len;
    }
    CHECK(pread(fd, back, BYTES, 512) == BYTES && memcmp(bytes, back, BYTES) == 0);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    // Past the page cache the same bytes are there, and what is written there is seen here.
    int direct = open(DISK, O_RDWR | O_DIRECT);
    NEED(direct >= 0);
    unsigned char *aligned = aligned_alloc(PAGE, 64 * PAGE);
    CHECK(pread(direct, aligned, 64 * PAGE, PAGE) == 64 * PAGE);
    CHECK(memcmp(aligned, bytes + PAGE - 512, 64 * PAGE) == 0);
    CHECK(pread(direct, aligned, logical - 1, 0) == -1 && errno == EINVAL);
    CHECK(pread(direct, aligned, logical, 1) == -1 && errno == EINVAL);
    memset(aligned, 0xa5, 2 * logical);
    CHECK(pwrite(direct, aligned, 2 * logical, 8 * PAGE) == 2 * logical);
    CHECK(pread(fd, back, 2 * logical, 8 * PAGE) == 2 * logical && memcmp(back, aligned, 2 * logical) == 0);
    memcpy(aligned, bytes + 8 * PAGE - 512, 2 * logical);
    CHECK(pwrite(direct, aligned, 2 * logical, 8 * PAGE) == 2 * logical);
    // A mapping shares the pages.
    unsigned char *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != MAP_FAILED);
    CHECK(memcmp(map + 512, bytes, 4 * PAGE - 512) == 0);
    memcpy(map, "mapped", 6);
    CHECK(pread(fd, back, 6, 0) == 6 && memcmp(back, "mapped", 6) == 0);
    CHECK(msync(map, 4 * PAGE, MS_SYNC) == 0 && munmap(map, 4 * PAGE) == 0);
    // The end.
    off_t end = lseek(fd, 0, SEEK_END);
    CHECK(pread(fd, back, 512, end) == 0);
    CHECK(pwrite(fd, bytes, 512, end) == -1 && errno == ENOSPC);
    CHECK(pwrite(fd, bytes, 1024, end - 512) == 512);
    CHECK(pread(fd, back, 1024, end - 512) == 512 && memcmp(back, bytes, 512) == 0);
    CHECK(ftruncate(fd, 0) == -1 && errno == EINVAL);
    // Zeroes, and a device that another has.
    uint64_t range[2] = {end / 2, 1 << 20};
    CHECK(pwrite(fd, bytes, PAGE, end / 2) == PAGE);
    CHECK(ioctl(fd, BLKZEROOUT, range) == 0);
    CHECK(pread(fd, back, PAGE, end / 2) == PAGE);
    for (int at = 0; at < PAGE; at++)
        if (back[at])
            CHECK(!"zeroes");
    range[0]++;
    CHECK(ioctl(fd, BLKZEROOUT, range) == -1 && errno == EINVAL);
    int own = open(DISK, O_RDONLY | O_EXCL);
    CHECK(own >= 0 && open(DISK, O_RDONLY | O_EXCL) == -1 && errno == EBUSY);
    close(own);
    CHECK(open(DISK, O_RDONLY | O_EXCL) >= 0);
    puts("written");
}

static void read_disk(void) {
    unsigned char *bytes = pattern_bytes(), *back = malloc(BYTES);
    int fd = open(DISK, O_RDONLY);
    NEED(fd >= 0);
    CHECK(pread(fd, back, 6, 0) == 6 && memcmp(back, "mapped", 6) == 0);
    CHECK(lseek(fd, 512, SEEK_SET) == 512);
    int at = 0;
    for (ssize_t n; at < BYTES && (n = read(fd, back + at, 1000)) > 0;)
        at += n < BYTES - at ? n : BYTES - at;
    CHECK(at == BYTES && memcmp(bytes, back, BYTES) == 0);
    CHECK(write(fd, bytes, 1) == -1 && errno == EBADF);
    puts("read");
}

static void refuse_writes(void) {
    char byte = 1;
    uint64_t range[2] = {0, 4096};
    int fd = open(DISK, O_RDWR);
    SHOW(fd >= 0);
    SHOW(read(fd, &byte, 1));
    SHOW(write(fd, &byte, 1));
    SHOW(ioctl(fd, BLKZEROOUT, range));
    SHOW(ioctl(fd, BLKDISCARD, range));
    SHOW(fsync(fd));
}

// The disk fails to read at 1 MiB and to write at 2 MiB.
static void meet_errors(void) {
    char page[PAGE] = "x";
    int fd = open(DISK, O_RDWR), other = open(DISK, O_RDWR);
    NEED(fd >= 0 && other >= 0);
    SHOW(pread(fd, page, PAGE, 1 << 20));
    SHOW(pread(fd, page, PAGE, (1 << 20) - PAGE));
    struct iovec two[2] = {{page, PAGE}, {page, PAGE}};
    SHOW(preadv(fd, two, 2, (1 << 20) - PAGE));
    SHOW(pwrite(fd, page, PAGE, 2 << 20));
    SHOW(pwrite(fd, page, PAGE, 3 << 20));
    // Each file that was open then hears of it once (fsync(2)).
    SHOW(fsync(fd));
    SHOW(fsync(fd));
    SHOW(fsync(other));
    SHOW(fsync(other));
    int direct = open(DISK, O_RDWR | O_DIRECT);
    char *aligned = aligned_alloc(PAGE, PAGE);
    memset(aligned, 1, PAGE);
    SHOW(pwrite(direct, aligned, PAGE, 2 << 20));
    SHOW(pread(direct, aligned, PAGE, 1 << 20));
    SHOW(pread(direct, aligned, PAGE, 3 << 20));
    char *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1 << 20);
    NEED(map != MAP_FAILED);
    puts("SIGBUS comes next");
    SHOW(map[0]);
}

int main(int argc, char **argv) {
    const char *step = argc > 1 ? argv[1] : "";
    if (!strcmp(step, "describe"))
        for (int at = 2; at < argc; at++)
            describe(argv[at]);
    else if (!strcmp(step, "write"))
        write_disk(atoi(argv[2]));
    else if (!strcmp(step, "read"))
        read_disk();
    else if (!strcmp(step, "refuse"))
        refuse_writes();
    else
        meet_errors();
    DONE();
}
