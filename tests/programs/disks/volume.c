// A volume of ext4 on /dev/vda, or the disk that DISK names, one step at a time: the argument says which. A step prints FAILED lines for what does not hold.
#include "t.h"
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/uio.h>

// The disk.
#define DISK (getenv("DISK") ? getenv("DISK") : "/dev/vda")

enum { BYTES = 700000, FILES = 300 };

static void put(const char *path, size_t len, size_t from) {
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    NEED(fd >= 0);
    char bytes[1000];
    for (size_t at = 0; at < len;) {
        size_t n = len - at < sizeof bytes ? len - at : sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern(from + at + i);
        CHECK(write(fd, bytes, n) == (ssize_t)n);
        at += n;
    }
    CHECK(close(fd) == 0);
}

static void check(const char *path, size_t len, size_t from) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        printf("FAILED: %s is not there\n", path);
        t_failures++;
        return;
    }
    char *bytes = malloc(len + 1);
    ssize_t n = 0, got;
    while (n <= (ssize_t)len && (got = read(fd, bytes + n, len + 1 - n)) > 0)
        n += got;
    CHECK(n == (ssize_t)len);
    for (size_t at = 0; at < len; at++)
        if (bytes[at] != (char)pattern(from + at)) {
            printf("FAILED: %s differs at %zu\n", path, at);
            t_failures++;
            break;
        }
    free(bytes);
    close(fd);
}

static void mount_volume(unsigned long flags) {
    mkdir("/volume", 0755);
    NEED(mount(DISK, "/volume", "ext4", flags, NULL) == 0);
    NEED(chdir("/volume") == 0);
}

static void refused(void) {
    mkdir("/volume", 0755);
    SHOW(mount("/dev/null", "/volume", "ext4", 0, NULL));
    SHOW(mount("/dev/vdb", "/volume", "ext4", 0, NULL));
    SHOW(mount("/dev/vda", "/volume", "ext4", 0, NULL));
    SHOW(mount("/dev/vda", "/volume", "ext4", 0, NULL));
    int fd = open("/volume/busy", O_CREAT | O_WRONLY, 0644);
    SHOW(umount("/volume"));
    SHOW(mount(NULL, "/volume", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    close(fd);
    SHOW(mount(NULL, "/volume", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    SHOW(open("/volume/new", O_CREAT | O_WRONLY, 0644));
    SHOW(umount("/volume"));
    SHOW(access("/volume/busy", F_OK));
}

// All kinds of changes.
// What something is mounted on does not go.
static void covered(void) {
    NEED(mkdir("under", 0755) == 0 && mkdir("over", 0755) == 0);
    put("under_file", 10, 0);
    NEED(mount("over", "under", NULL, MS_BIND, NULL) == 0 && mount("under_file", "under_file", NULL, MS_BIND, NULL) == 0);
    CHECK(rmdir("under") == -1 && errno == EBUSY);
    CHECK(unlink("under_file") == -1 && errno == EBUSY);
    CHECK(rename("under", "elsewhere") == -1 && errno == EBUSY);
    NEED(umount("under") == 0 && umount("under_file") == 0);
    CHECK(rmdir("under") == 0 && rmdir("over") == 0 && unlink("under_file") == 0);
}

static void change(void) {
    mount_volume(0);
    check("made/by/host", 5000, 0);
    CHECK(mkdir("directory", 0750) == 0 && mkdir("directory/inner", 0755) == 0);
    put("directory/file", BYTES, 1);
    CHECK(link("directory/file", "hard") == 0 && symlink("directory/file", "soft") == 0);
    check("soft", BYTES, 1);
    CHECK(rename("hard", "directory/inner/renamed") == 0 && access("hard", F_OK) == -1 && errno == ENOENT);
    struct stat st;
    CHECK(stat("directory/file", &st) == 0 && st.st_nlink == 2 && st.st_size == BYTES && st.st_blocks > 0);
    CHECK(chmod("directory/file", 0600) == 0 && stat("soft", &st) == 0 && (st.st_mode & 07777) == 0600);
    // A file that was cut off, and grows again.
    put("cut", BYTES, 2);
    CHECK(truncate("cut", 10001) == 0 && truncate("cut", 20000) == 0);
    int fd = open("cut", O_RDWR);
    char zero = 1;
    CHECK(pread(fd, &zero, 1, 15000) == 1 && zero == 0);
    CHECK(lseek(fd, 0, SEEK_END) == 20000);
    CHECK(ftruncate(fd, 10001) == 0);
    close(fd);
    // A mapping shares the pages, and what it writes gets to the disk.
    put("mapped", 10000, 3);
    fd = open("mapped", O_RDWR);
    unsigned char *map = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != MAP_FAILED);
    for (int at = 0; at < 10000; at++)
        map[at] = pattern(4 + at);
    check("mapped", 10000, 4);
    CHECK(msync(map, 10000, MS_SYNC) == 0 && fsync(fd) == 0);
    close(fd);
    // Its blocks are free once it is closed.
    struct statfs before, after;
    CHECK(statfs(".", &before) == 0 && before.f_type == 0xef53);
    put("gone", 10 * BYTES, 5);
    fd = open("gone", O_RDONLY);
    CHECK(unlink("gone") == 0 && fstat(fd, &st) == 0 && st.st_nlink == 0);
    CHECK(pread(fd, &zero, 1, 9 * BYTES) == 1 && zero == (char)pattern(5 + 9 * BYTES));
    close(fd);
    CHECK(mkdir("other", 0755) == 0 && rmdir("other") == 0);
    CHECK(statfs(".", &after) == 0 && before.f_bfree - after.f_bfree < BYTES / 4096);
    // A hole.
    fd = open("hole", O_CREAT | O_RDWR, 0644);
    CHECK(pwrite(fd, "x", 1, 1 << 20) == 1 && lseek(fd, 0, SEEK_DATA) >= 1 << 19 && lseek(fd, 0, SEEK_HOLE) == 0);
    close(fd);
    CHECK(mkdir("many", 0755) == 0);
    for (int i = 0; i < FILES; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/%s%d", i % 2 ? "a-name-that-is-not-short-" : "n", i);
        put(name, i, i);
    }
    covered();
    puts("changed");
}

static void verify(unsigned long flags) {
    mount_volume(flags);
    check("made/by/host", 5000, 0);
    check("soft", BYTES, 1);
    check("directory/inner/renamed", BYTES, 1);
    check("cut", 10001, 2);
    check("mapped", 10000, 4);
    CHECK(access("gone", F_OK) == -1 && errno == ENOENT);
    int count = 0;
    DIR *many = opendir("many");
    for (struct dirent *entry; many && (entry = readdir(many));)
        count += entry->d_name[0] != '.';
    CHECK(count == FILES);
    for (int i = 0; i < FILES; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/%s%d", i % 2 ? "a-name-that-is-not-short-" : "n", i);
        check(name, i, i);
    }
    puts("verified");
}

// Reading and writing past the page cache.
enum { DIRECT = 1 << 20, UNIT = 4096 };

static char *aligned(size_t len) {
    char *bytes;
    NEED(posix_memalign((void **)&bytes, UNIT, len) == 0);
    return bytes;
}

static bool is_pattern(const char *bytes, size_t len, size_t from) {
    for (size_t at = 0; at < len; at++)
        if (bytes[at] != (char)pattern(from + at))
            return false;
    return true;
}

static void fill(char *bytes, size_t len, size_t from) {
    for (size_t at = 0; at < len; at++)
        bytes[at] = pattern(from + at);
}

static void direct_alone(void) {
    char *bytes = aligned(DIRECT), *back = aligned(DIRECT + UNIT);
    put("direct", DIRECT, 7);
    int fd = open("direct", O_RDWR | O_DIRECT), cached = open("direct", O_RDWR);
    NEED(fd >= 0 && cached >= 0);
    // What was written by way of the cache is seen past it, and the other way round.
    CHECK(read(fd, back, DIRECT) == DIRECT && is_pattern(back, DIRECT, 7));
    struct stat before, after;
    CHECK(fstat(fd, &before) == 0);
    usleep(20000);
    fill(bytes, DIRECT, 8);
    CHECK(pwrite(fd, bytes, DIRECT, 0) == DIRECT && fstat(fd, &after) == 0);
    CHECK(after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
    CHECK(pread(cached, back, DIRECT, 0) == DIRECT && is_pattern(back, DIRECT, 8));
    // A buffer that begins in the middle of a page, and one of several pieces.
    CHECK(pread(fd, back + 512, DIRECT / 2, UNIT) == DIRECT / 2 && is_pattern(back + 512, DIRECT / 2, 8 + UNIT));
    struct iovec pieces[] = {{back, UNIT}, {back + 3 * UNIT, 2 * UNIT}, {back + 8 * UNIT, UNIT}};
    CHECK(preadv(fd, pieces, 3, 2 * UNIT) == 4 * UNIT);
    CHECK(is_pattern(back, UNIT, 8 + 2 * UNIT) && is_pattern(back + 3 * UNIT, 2 * UNIT, 8 + 3 * UNIT));
    CHECK(is_pattern(back + 8 * UNIT, UNIT, 8 + 5 * UNIT));
    CHECK(pwritev(fd, pieces, 3, 16 * UNIT) == 4 * UNIT);
    CHECK(pread(cached, bytes, 4 * UNIT, 16 * UNIT) == 4 * UNIT && is_pattern(bytes, 4 * UNIT, 8 + 2 * UNIT));
    CHECK(pwrite(fd, bytes, 4 * UNIT, 2 * UNIT) == 4 * UNIT);
    // Offsets and lengths are whole blocks.
    CHECK(pread(fd, back, UNIT, 100) == -1 && errno == EINVAL && pread(fd, back, 100, 0) == -1 && errno == EINVAL);
    CHECK(pread(fd, (void *)8192, UNIT, 0) == -1 && errno == EFAULT);
    // Pages that were never touched, and those of a file that is mapped.
    char *fresh = mmap(NULL, 4 * UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pread(fd, fresh, 4 * UNIT, 2 * UNIT) == 4 * UNIT && is_pattern(fresh, 4 * UNIT, 8 + 2 * UNIT));
    int other = open("mapped_direct", O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(ftruncate(other, 4 * UNIT) == 0);
    char *shared = mmap(NULL, 4 * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    CHECK(pread(fd, shared, 4 * UNIT, 2 * UNIT) == 4 * UNIT && msync(shared, 4 * UNIT, MS_SYNC) == 0);
    CHECK(pread(other, back, 4 * UNIT, 0) == 4 * UNIT && is_pattern(back, 4 * UNIT, 8 + 2 * UNIT));
    CHECK(pwrite(fd, shared, 4 * UNIT, 2 * UNIT) == 4 * UNIT);
    // The end of a file, a hole, and blocks that were never written.
    CHECK(ftruncate(fd, DIRECT / 2 + 1001) == 0);
    CHECK(pread(fd, back, DIRECT, DIRECT / 2 - UNIT) == UNIT + 1001 && is_pattern(back, UNIT + 1001, 8 + DIRECT / 2 - UNIT));
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * UNIT, 2 * UNIT) == 0);
    CHECK(fallocate(fd, 0, DIRECT, 4 * UNIT) == 0);
    memset(back, 1, DIRECT);
    CHECK(pread(fd, back, 4 * UNIT, 3 * UNIT) == 4 * UNIT && back[UNIT] == 0 && back[3 * UNIT - 1] == 0);
    CHECK(is_pattern(back, UNIT, 8 + 3 * UNIT) && is_pattern(back + 3 * UNIT, UNIT, 8 + 6 * UNIT));
    CHECK(pread(fd, back, 4 * UNIT, DIRECT) == 4 * UNIT && back[0] == 0 && back[4 * UNIT - 1] == 0);
    CHECK(pwrite(fd, bytes, 4 * UNIT, 4 * UNIT) == 4 * UNIT && pwrite(fd, bytes, UNIT, DIRECT + UNIT) == UNIT);
    CHECK(pread(cached, back, 4 * UNIT, 4 * UNIT) == 4 * UNIT && is_pattern(back, 4 * UNIT, 8 + 2 * UNIT));
    CHECK(pread(cached, back, UNIT, DIRECT) == UNIT && back[0] == 0 && back[UNIT - 1] == 0);
    CHECK(pread(cached, back, UNIT, DIRECT + UNIT) == UNIT && is_pattern(back, UNIT, 8 + 2 * UNIT));
    CHECK(fsync(fd) == 0 && close(fd) == 0 && close(cached) == 0 && close(other) == 0);
    CHECK(unlink("direct") == 0);
}

// Blocks go from one file to the other while both are read and written past the cache: no file gets another's bytes.
enum { RACE_BLOCKS = 64, RACE_ROUNDS = 400 };

static atomic_bool race_ends;

static int race_file(int which) {
    char name[16];
    snprintf(name, sizeof name, "race%d", which);
    return open(name, O_RDWR | O_CREAT | O_DIRECT, 0644);
}

static void *race_writer(void *argument) {
    int which = (int)(long)argument, fd = race_file(which);
    char *bytes = aligned(UNIT);
    memset(bytes, 'A' + which, UNIT);
    for (unsigned block = which; !race_ends; block += 7)
        CHECK(pwrite(fd, bytes, UNIT, block % RACE_BLOCKS * UNIT) == UNIT);
    close(fd);
    return NULL;
}

static void *race_reader(void *argument) {
    int which = (int)(long)argument, fd = race_file(which);
    char *bytes = aligned(4 * UNIT);
    for (unsigned block = 0; !race_ends; block += 5) {
        ssize_t len = pread(fd, bytes, 4 * UNIT, block % RACE_BLOCKS * UNIT);
        CHECK(len >= 0);
        for (ssize_t at = 0; at < len; at++)
            if (bytes[at] != 0 && bytes[at] != 'A' + which) {
                printf("FAILED: file %d has %d\n", which, bytes[at]);
                t_failures++;
                break;
            }
    }
    close(fd);
    return NULL;
}

static void direct_race(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, i < 2 ? race_writer : race_reader, (void *)(i % 2)) == 0);
    for (int round = 0; round < RACE_ROUNDS; round++) {
        int fd = race_file(round % 2);
        off_t at = round * 13 % RACE_BLOCKS * UNIT;
        if (round % 3 == 0)
            CHECK(ftruncate(fd, at) == 0);
        else
            CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 16 * UNIT) == 0);
        close(fd);
    }
    race_ends = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

// Records that several threads append lie in one piece each.
enum { RECORD = 3000, RECORDS = 100, APPENDERS = 3 };

static void *appender(void *argument) {
    int fd = open("appended", O_WRONLY | O_CREAT | O_APPEND, 0644);
    char record[RECORD];
    memset(record, 'a' + (int)(long)argument, RECORD);
    for (int i = 0; i < RECORDS; i++)
        CHECK(write(fd, record, RECORD) == RECORD);
    close(fd);
    return NULL;
}

static void appended(void) {
    pthread_t threads[APPENDERS];
    for (long i = 0; i < APPENDERS; i++)
        NEED(pthread_create(&threads[i], NULL, appender, (void *)i) == 0);
    for (int i = 0; i < APPENDERS; i++)
        pthread_join(threads[i], NULL);
    int fd = open("appended", O_RDONLY);
    char record[RECORD];
    for (int i = 0; i < RECORDS * APPENDERS; i++) {
        CHECK(read(fd, record, RECORD) == RECORD);
        for (int at = 1; at < RECORD; at++)
            if (record[at] != record[0]) {
                printf("FAILED: record %d is mixed\n", i);
                t_failures++;
                break;
            }
    }
    CHECK(read(fd, record, 1) == 0 && close(fd) == 0);
}

// A buffer whose end is not there: what lies before that is written.
static void edges(void) {
    char *edge = mmap(NULL, 2 * UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(edge != MAP_FAILED && mprotect(edge + UNIT, UNIT, PROT_NONE) == 0);
    fill(edge, UNIT, 9);
    for (int appends = 0; appends < 2; appends++) {
        int fd = open("edges", O_WRONLY | O_CREAT | O_TRUNC | (appends ? O_APPEND : 0), 0644);
        CHECK(write(fd, edge + UNIT - 3, 10) == 3 && write(fd, edge + UNIT - 103, 200) == 103);
        CHECK(write(fd, edge + UNIT, 10) == -1 && errno == EFAULT && close(fd) == 0);
        int back = open("edges", O_RDONLY);
        char bytes[200];
        CHECK(read(back, bytes, 200) == 106 && is_pattern(bytes + 3, 103, 9 + UNIT - 103) && close(back) == 0);
    }
}

static void direct(void) {
    mount_volume(0);
    direct_alone();
    direct_race();
    appended();
    edges();
    puts("direct");
}

// A file that replaces another has its content with its name, though nothing syncs it but what syncs the directory later.
static const char REPLACED[] = "replaced";

static void replace(int round) {
    put("replacing", BYTES / 5 + round, round);
    NEED(rename("replacing", REPLACED) == 0);
}

// What is acknowledged is there after the machine was killed at any time.
static void acknowledge(void) {
    mount_volume(0);
    // The first one replaces nothing.
    put(REPLACED, BYTES / 5, 0);
    for (int round = 0;; round++) {
        char name[32], new[40];
        snprintf(name, sizeof name, "acknowledged-%d", round % 7);
        snprintf(new, sizeof new, "%s.new", name);
        put(new, BYTES / 7 + round, round);
        int fd = open(new, O_RDONLY);
        NEED(fsync(fd) == 0);
        close(fd);
        NEED(rename(new, name) == 0);
        replace(round);
        int directory = open(".", O_RDONLY | O_DIRECTORY);
        NEED(fsync(directory) == 0);
        close(directory);
        printf("acknowledged %d\n", round);
    }
}

static void expect(int last) {
    mount_volume(0);
    for (int round = last < 7 ? 0 : last - 6; round <= last; round++) {
        char name[32];
        struct stat st;
        snprintf(name, sizeof name, "acknowledged-%d", round % 7);
        // A later round may have come to an end that was not heard of.
        CHECK(stat(name, &st) == 0);
        int found = st.st_size - BYTES / 7;
        CHECK(found >= round && found % 7 == round % 7);
        check(name, st.st_size, found);
    }
    struct stat st;
    CHECK(stat(REPLACED, &st) == 0);
    int found = st.st_size - BYTES / 5;
    CHECK(found >= last);
    check(REPLACED, st.st_size, found);
    puts("as acknowledged");
}

// Cached pages of a file take no memory that a program wants: the file is larger than what is left beside the program's own.
static void pressure(void) {
    enum { CACHED = 40 << 20, WANTED = 36 << 20 };
    mount_volume(0);
    put("large", CACHED, 5);
    for (int round = 0; round < 3; round++) {
        static char buffer[1 << 16];
        int fd = open("large", O_RDONLY);
        ssize_t n;
        off_t bytes = 0;
        while ((n = read(fd, buffer, sizeof buffer)) > 0)
            bytes += n;
        CHECK(bytes == CACHED);
        close(fd);
        char *memory = mmap(NULL, WANTED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(memory != MAP_FAILED);
        for (size_t at = 0; at < WANTED; at += 4096)
            memory[at] = pattern(at);
        for (size_t at = 0; at < WANTED; at += 4096)
            CHECK(memory[at] == (char)pattern(at));
        CHECK(munmap(memory, WANTED) == 0);
    }
    puts("room was made");
}

static sigjmp_buf after_bus;
static void on_bus(int signal) { siglongjmp(after_bus, signal); }

// The disk can't read the second page of `bad`, and can't write that of `target`.
static void errors(void) {
    static char page[4096];
    mount_volume(0);
    int bad = open("bad", O_RDONLY);
    SHOW(pread(bad, page, 4096, 0));
    SHOW(pread(bad, page, 4096, 4096));
    SHOW(pread(bad, page, 4096, 8192));
    signal(SIGBUS, on_bus);
    volatile char *map = mmap(NULL, 12288, PROT_READ, MAP_SHARED, bad, 0);
    int caught = sigsetjmp(after_bus, 1);
    if (!caught)
        page[0] = map[4096];
    SHOW(caught == SIGBUS);
    CHECK(map[0] == map[8192]);

    int fd = open("target", O_RDWR), other = open("target", O_RDWR);
    SHOW(pwrite(fd, page, 4096, 4096));
    SHOW(fsync(fd));
    SHOW(fsync(fd));
    SHOW(fdatasync(other));
    SHOW(fdatasync(other));
    int later = open("target", O_RDWR);
    SHOW(fsync(later));
    // An error that no file reported is reported by the next that is opened.
    SHOW(pwrite(fd, page, 4096, 4096));
    close(fd), close(other), close(later);
    sync();
    later = open("target", O_RDWR);
    SHOW(fsync(later));
    SHOW(fsync(later));
    SHOW(pwrite(later, page, 4096, 0));
    SHOW(fsync(later));
    SHOW(mkdir("directory", 0755));
    puts("end of errors");
}

// The disk can't write the journal.
static void aborted(void) {
    mount_volume(0);
    int fd = open("target", O_RDWR), root = open(".", O_RDONLY);
    SHOW(mkdir("directory", 0755));
    SHOW(fsync(root));
    SHOW(fsync(root));
    SHOW(mkdir("other", 0755));
    SHOW(open("new", O_CREAT | O_RDWR, 0644));
    SHOW(unlink("bad"));
    char byte;
    SHOW(pread(fd, &byte, 1, 0));
    char line[300];
    FILE *mounts = fopen("/proc/mounts", "r");
    while (fgets(line, sizeof line, mounts))
        if (strstr(line, "/volume "))
            fputs(line, stdout);
    puts("end of aborted");
}

int main(int argc, char **argv) {
    const char *step = argc > 1 ? argv[1] : "";
    if (!strcmp(step, "change"))
        change();
    else if (!strcmp(step, "verify"))
        verify(0);
    else if (!strcmp(step, "verify_read_only"))
        verify(MS_RDONLY);
    else if (!strcmp(step, "refused"))
        refused();
    else if (!strcmp(step, "pressure"))
        pressure();
    else if (!strcmp(step, "direct"))
        direct();
    else if (!strcmp(step, "errors"))
        errors();
    else if (!strcmp(step, "aborted"))
        aborted();
    else if (!strcmp(step, "acknowledge"))
        acknowledge();
    else
        expect(atoi(argv[2]));
    DONE();
}
