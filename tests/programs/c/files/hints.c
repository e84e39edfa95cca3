// Flags of preadv2 and pwritev2, O_DIRECT, advice on files, sync_file_range and syncfs.
#include "t.h"
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif

enum { BYTES = 300 * 1024 };
static char *bytes, *found;

static ssize_t read2(int fd, size_t len, off_t at, int flags) {
    struct iovec v = {found, len};
    return preadv2(fd, &v, 1, at, flags);
}
static ssize_t write2(int fd, const char *text, off_t at, int flags) {
    struct iovec v = {(void *)text, strlen(text)};
    return pwritev2(fd, &v, 1, at, flags);
}

// What only a file system on a disk has.
static void on_a_disk(void) {
    int fd = open("disk", O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(write(fd, bytes, BYTES) == BYTES && fsync(fd) == 0);
    // What was taken from the cache is read again, but not without waiting.
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    SHOW(read2(fd, 100, 8192, RWF_NOWAIT));
    SHOW(posix_fadvise(fd, 0, 65536, POSIX_FADV_WILLNEED));
    WAIT_UNTIL(read2(fd, 65536, 0, RWF_NOWAIT) == 65536);
    CHECK(!memcmp(found, bytes, 65536));
    SHOW(write2(fd, "x", 0, RWF_NOWAIT));
    SHOW(readahead(fd, 0, BYTES));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
    SHOW(pread(fd, found, 5000, 100000));
    CHECK(!memcmp(found, bytes + 100000, 5000));

    // Past the cache, and coherent with it.
    int direct = open("disk", O_RDWR | O_DIRECT);
    SHOW(direct >= 0);
    SHOW(pread(direct, found, 4096, 100));
    SHOW(pread(direct, found, 100, 4096));
    SHOW(pread(direct, found, BYTES + 4096, 0));
    CHECK(!memcmp(found, bytes, BYTES));
    SHOW(pread(direct, found, 4096, 1 << 20));
    memset(bytes + 8192, 'd', 12288);
    NEED(pwrite(fd, bytes + 8192, 4096, 8192) == 4096);
    SHOW(pread(direct, found, 4096, 8192));
    CHECK(!memcmp(found, bytes + 8192, 4096));
    SHOW(pwrite(direct, bytes + 8192, 12288, 8192));
    SHOW(pread(fd, found, 12288, 8192));
    CHECK(!memcmp(found, bytes + 8192, 12288));
    SHOW(pwrite(direct, bytes, 100, 0));
    SHOW(pwrite(direct, bytes, 4096, BYTES));
    SHOW(lseek(fd, 0, SEEK_END));
    SHOW(pwrite(direct, bytes, 4096, BYTES + 65536));
    SHOW(pread(fd, found, 8192, BYTES + 65536 - 4096));
    CHECK(found[0] == 0 && !memcmp(found + 4096, bytes, 4096));
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != MAP_FAILED);
    map[10] = 'm';
    SHOW(pwrite(direct, bytes + 4096, 4096, 4096));
    CHECK(map[4096] == bytes[4096]);
    SHOW(pread(direct, found, 4096, 0));
    CHECK(found[10] == 'm');
    bytes[10] = 'm';
    NEED(munmap(map, 8192) == 0);

    // Where it lies.
    int holes = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(pwrite(holes, bytes, 8192, 0) == 8192 && pwrite(holes, bytes, 4096, 65536) == 4096);
    NEED(fallocate(holes, 0, 131072, 8192) == 0);
    union {
        struct fiemap head;
        char room[sizeof(struct fiemap) + 8 * sizeof(struct fiemap_extent)];
    } map_of = {.head = {.fm_length = ~0ull, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = 8}};
    SHOW(ioctl(holes, FS_IOC_FIEMAP, &map_of));
    for (unsigned i = 0; i < map_of.head.fm_mapped_extents; i++) {
        struct fiemap_extent *e = &map_of.head.fm_extents[i];
        printf("%llu bytes at %llu, flags %x, on the disk %d\n", e->fe_length, e->fe_logical, e->fe_flags, e->fe_physical > 0);
    }
    map_of.head = (struct fiemap){.fm_start = 4096, .fm_length = 65536};
    SHOW(ioctl(holes, FS_IOC_FIEMAP, &map_of));
    SHOW(map_of.head.fm_mapped_extents);
    map_of.head = (struct fiemap){.fm_length = 1, .fm_flags = 0x100};
    SHOW(ioctl(holes, FS_IOC_FIEMAP, &map_of));
    SHOW(map_of.head.fm_flags);
    int flags = 0;
    SHOW(ioctl(holes, FS_IOC_GETFLAGS, &flags));
    SHOW(flags);
}

// Taking ranges out of a file and putting ranges in: each page says which one it was.
static void show_pages(int fd) {
    struct stat st;
    NEED(fstat(fd, &st) == 0);
    printf("%ld bytes:", (long)st.st_size);
    for (off_t at = 0; at < st.st_size; at += 4096) {
        char c = 0;
        NEED(pread(fd, &c, 1, at) == 1);
        printf(" %c", c ? c : '-');
    }
    puts("");
}
static void shifts(void) {
    int fd = open("shifts", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int page = 0; page < 10; page++) {
        memset(found, 'a' + page, 4096);
        NEED(write(fd, found, page == 9 ? 100 : 4096) > 0);
    }
    char *map = mmap(NULL, 40960, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != MAP_FAILED && map[8192] == 'c');
    map[7 * 4096] = 'H';
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 8192));
    show_pages(fd);
    printf("mapped: %c %c\n", map[4096], map[5 * 4096]);
    SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 12288, 4096));
    show_pages(fd);
    SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 8192));
    show_pages(fd);
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
    show_pages(fd);
    map[0] = 'M';
    SHOW(fsync(fd));
    show_pages(fd);
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 100, 4096));
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 100));
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 1 << 20));
    SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 1 << 20, 4096));
    SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 100));
    SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    SHOW(fallocate(fd, 0x1000, 0, 4096));
    NEED(munmap(map, 40960) == 0);
}

int main(void) {
    enter_scratch();
    NEED(posix_memalign((void **)&bytes, 4096, BYTES) == 0 && posix_memalign((void **)&found, 4096, BYTES + 8192) == 0);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = pattern(i);
    int fd = open("f", O_RDWR | O_CREAT | O_APPEND, 0600);
    SHOW(write2(fd, "first ", -1, RWF_HIPRI));
    SHOW(write2(fd, "second ", 2, 0));
    show_file("f");
    SHOW(write2(fd, "IRST", 1, RWF_NOAPPEND));
    SHOW(write2(fd, "x", 1, RWF_NOAPPEND | RWF_APPEND));
    show_file("f");
    SHOW(fcntl(fd, F_SETFL, 0));
    SHOW(write2(fd, "third", 0, RWF_APPEND | RWF_SYNC));
    SHOW(write2(fd, "S", 6, RWF_DSYNC));
    show_file("f");
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(write2(fd, "x", 0, 0x40000000));
    SHOW(read2(fd, 5, 0, 0x40000000));
    SHOW(read2(fd, 5, -2, 0));
    SHOW(read2(fd, 5, 0, RWF_HIPRI));
    SHOW(read2(-1, 5, 0, 0x40000000));
    int pipes[2];
    NEED(pipe(pipes) == 0);
    SHOW(read2(pipes[0], 5, -1, RWF_NOWAIT));
    SHOW(read2(pipes[0], 5, 0, 0));
    SHOW(write2(pipes[1], "abc", -1, RWF_NOWAIT));
    SHOW(read2(pipes[0], 5, -1, RWF_NOWAIT));

    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_NOREUSE));
    SHOW(posix_fadvise(fd, 0, 0, 6) == EINVAL);
    SHOW(posix_fadvise(fd, 0, -1, 0) == EINVAL);
    SHOW(posix_fadvise(pipes[0], 0, 0, 0) == ESPIPE);
    SHOW(posix_fadvise(-1, 0, 0, 0) == EBADF);
    SHOW(sync_file_range(fd, 0, 0, 7));
    SHOW(sync_file_range(fd, 0, 0, 0));
    SHOW(sync_file_range(fd, 0, 0, 8));
    SHOW(sync_file_range(fd, -1, 0, 1));
    SHOW(sync_file_range(pipes[0], 0, 0, 1));
    SHOW(syncfs(fd));
    SHOW(syncfs(-1));
    int synced = open("synced", O_RDWR | O_CREAT | O_SYNC, 0600), data = open("synced", O_RDWR | O_DSYNC);
    SHOW(write(synced, "ab", 2));
    SHOW(pwrite(data, "cd", 2, 2));
    show_file("synced");
    if (getenv("SCRATCH")) {
        on_a_disk();
        shifts();
    }
    DONE();
}
