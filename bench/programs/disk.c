/*
 * disk.c: what reading and writing a file on a disk costs. Runs each test once (or the one named) on /data/file, prints "micro NAME
 * OPERATIONS", and calls bench_mark() before and after the operations, as micro.c does.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "/data/file"
#define NEW_NAME "/data/new"

enum { SMALL = 4096, LARGE = 1 << 20 };

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

static void finish(const char *name, unsigned long operations)
{
    bench_mark();
    printf("micro %s %lu\n", name, operations);
    fflush(stdout);
}

static char *buffer;
static size_t file_bytes;

static int opened(const char *path, int flags)
{
    int descriptor = open(path, flags, 0644);
    if (descriptor < 0) {
        fail(path);
    }
    return descriptor;
}

/* Numbers that look random, the same in every run. */
static uint64_t chance(void)
{
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static void read_at(int descriptor, size_t bytes, size_t place)
{
    if (pread(descriptor, buffer, bytes, (off_t)place) != (ssize_t)bytes) {
        fail("pread");
    }
}

/* One at a time, past the page cache. */
static void random_reads(void)
{
    enum { N = 4000 };
    int file = opened(FILE_NAME, O_RDONLY | O_DIRECT);
    bench_mark();
    for (int i = 0; i < N; i++) {
        read_at(file, SMALL, chance() % (file_bytes / SMALL) * SMALL);
    }
    finish("disk-read-4k", N);
    close(file);
}

static void sequential_reads(void)
{
    size_t n = file_bytes / LARGE;
    int file = opened(FILE_NAME, O_RDONLY | O_DIRECT);
    bench_mark();
    for (size_t i = 0; i < n; i++) {
        read_at(file, LARGE, i * LARGE);
    }
    finish("disk-read-1m", n);
    close(file);
}

/* Over blocks that the file has. */
static void sequential_writes(void)
{
    size_t n = file_bytes / LARGE;
    int file = opened(FILE_NAME, O_WRONLY | O_DIRECT);
    bench_mark();
    for (size_t i = 0; i < n; i++) {
        if (pwrite(file, buffer, LARGE, (off_t)(i * LARGE)) != LARGE) {
            fail("pwrite");
        }
    }
    finish("disk-write-1m", n);
    close(file);
}

/* A log: each record is on the disk before the next is written. */
static void synced_appends(void)
{
    enum { N = 500, RECORD = 512 };
    int file = opened(NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC);
    bench_mark();
    for (int i = 0; i < N; i++) {
        if (write(file, buffer, RECORD) != RECORD || fdatasync(file)) {
            fail("append");
        }
    }
    finish("disk-append-sync", N);
    close(file);
}

static void cached_reads(void)
{
    enum { N = 4000, CACHED = 16 << 20 };
    int file = opened(FILE_NAME, O_RDONLY);
    for (size_t place = 0; place < CACHED; place += LARGE) {
        read_at(file, LARGE, place);
    }
    bench_mark();
    for (int i = 0; i < N; i++) {
        read_at(file, SMALL, chance() % (CACHED / SMALL) * SMALL);
    }
    finish("cached-read-4k", N);
    close(file);
}

/* One fault a page: neighbours are not mapped with it. */
static void cached_faults(void)
{
    enum { CACHED = 8 << 20 };
    int file = opened(FILE_NAME, O_RDONLY);
    for (size_t place = 0; place < CACHED; place += LARGE) {
        read_at(file, LARGE, place);
    }
    const char *pages = mmap(NULL, CACHED, PROT_READ, MAP_SHARED, file, 0);
    if (pages == MAP_FAILED || madvise((void *)pages, CACHED, MADV_RANDOM)) {
        fail("mmap");
    }
    bench_mark();
    for (size_t place = 0; place < CACHED; place += SMALL) {
        (void)*(const volatile char *)(pages + place);
    }
    finish("cached-fault", CACHED / SMALL);
    close(file);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    {"disk-read-4k", random_reads},       {"disk-read-1m", sequential_reads}, {"disk-write-1m", sequential_writes},
    {"disk-append-sync", synced_appends}, {"cached-read-4k", cached_reads},   {"cached-fault", cached_faults},
};

/* Runs every test, or the one that is named. */
int main(int argc, char **argv)
{
    struct stat status;
    if (stat(FILE_NAME, &status) || posix_memalign((void **)&buffer, SMALL, LARGE)) {
        fail(FILE_NAME);
    }
    file_bytes = (size_t)status.st_size;
    memset(buffer, 'z', LARGE);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (argc < 2 || strcmp(argv[1], tests[i].name) == 0) {
            tests[i].run();
        }
    }
    return 0;
}
