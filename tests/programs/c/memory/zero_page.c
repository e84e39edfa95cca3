// Private memory that is only read takes none: one page of zeroes is behind all of it until it is written to. What is four
// times the guest's memory is read here, then written to by every way there is.
// memory: 64M
// machines: all
#include "t.h"
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096L
#define BIG (256L << 20)

// With a page around it, so that it joins no other mapping.
static char *map(long len) {
    char *at = mmap(NULL, len + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(at != MAP_FAILED);
    at += PAGE;
    NEED(mprotect(at, len, PROT_READ | PROT_WRITE) == 0);
    // Where huge pages are given, one write would fill 512 pages.
    madvise(at, len, MADV_NOHUGEPAGE);
    return at;
}

static bool is_zero(const char *at, long len) {
    for (long i = 0; i < len; i += 64)
        if (at[i] != 0)
            return false;
    return true;
}

// Pages of the mapping that contains `at` which take memory, by /proc/self/smaps.
static long resident_pages(const char *at) {
    FILE *smaps = fopen("/proc/self/smaps", "r");
    NEED(smaps != NULL);
    char line[512];
    bool inside = false;
    long kib = -1;
    while (kib < 0 && fgets(line, sizeof line, smaps)) {
        unsigned long start, end;
        char dash;
        if (sscanf(line, "%lx%c%lx ", &start, &dash, &end) == 3 && dash == '-')
            inside = start <= (unsigned long)at && (unsigned long)at < end;
        else if (inside)
            sscanf(line, "Rss: %ld kB", &kib);
    }
    fclose(smaps);
    return kib / 4;
}

static void much(void) {
    char *at = map(BIG);
    long sum = 0;
    for (long i = 0; i < BIG; i += PAGE)
        sum += at[i];
    SHOW(sum);
    SHOW(resident_pages(at));
    at[BIG / 2] = 1;
    at[BIG / 2 + PAGE] = 2;
    SHOW(at[BIG / 2 - PAGE] + at[BIG / 2 - 1] + at[BIG / 2 + 1] + at[BIG / 2 + 2 * PAGE]);
    SHOW(resident_pages(at));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        at[0] = at[BIG - 1] = 3;
        _exit(at[BIG / 2] == 1 && resident_pages(at) == 4 && at[1] == 0 ? 7 : 1);
    }
    int status;
    NEED(waitpid(child, &status, 0) == child);
    SHOW(WEXITSTATUS(status));
    SHOW(at[0] + at[BIG - 1]);
    SHOW(madvise(at, BIG, MADV_DONTNEED));
    SHOW(resident_pages(at));
    SHOW(at[BIG / 2]);
    SHOW(munmap(at, BIG));
}

static void rights(void) {
    char *at = map(8 * PAGE);
    unsigned char present[8];
    SHOW(is_zero(at, 4 * PAGE));
    SHOW(mincore(at, 8 * PAGE, present));
    SHOW((present[0] & 1) + (present[3] & 1) + (present[7] & 1));
    SHOW(mprotect(at, 2 * PAGE, PROT_READ));
    SHOW(mprotect(at, 2 * PAGE, PROT_NONE));
    SHOW(mprotect(at, 2 * PAGE, PROT_READ | PROT_WRITE));
    at[0] = 1;
    SHOW(is_zero(at + PAGE, 7 * PAGE));
    SHOW(resident_pages(at));
    char *to = map(16 * PAGE);
    NEED(mremap(at, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    SHOW(to[0]);
    SHOW(is_zero(to + PAGE, 15 * PAGE));
    SHOW(resident_pages(to));
    to[5 * PAGE] = 1;
    SHOW(resident_pages(to));
    SHOW(is_zero(to + 6 * PAGE, 10 * PAGE));
    SHOW(munmap(to, 16 * PAGE));
    // Locked memory is there, and takes memory.
    at = map(4 * PAGE);
    SHOW(is_zero(at, 2 * PAGE));
    SHOW(mlock(at, 4 * PAGE));
    SHOW(resident_pages(at));
    SHOW(madvise(at, 4 * PAGE, MADV_POPULATE_WRITE));
    SHOW(munmap(at, 4 * PAGE));
    at = map(4 * PAGE);
    SHOW(madvise(at, 4 * PAGE, MADV_POPULATE_READ));
    SHOW(resident_pages(at));
    SHOW(madvise(at, 4 * PAGE, MADV_POPULATE_WRITE));
    SHOW(resident_pages(at));
    SHOW(munmap(at, 4 * PAGE));
}

// The kernel writes to it, and reads from it.
static void kernel(void) {
    char *at = map(16 * PAGE), *other = map(PAGE);
    int ends[2];
    NEED(pipe(ends) == 0);
    SHOW(is_zero(at, 16 * PAGE));
    SHOW(write(ends[1], at, 100));
    struct iovec piece = {at + PAGE, 100};
    SHOW(vmsplice(ends[1], &piece, 1, 0));
    at[PAGE] = 1;
    memset(other, 9, PAGE);
    SHOW(read(ends[0], other, 200));
    SHOW(is_zero(other, 100));
    SHOW(other[199]);
    SHOW(other[200]);
    SHOW(write(ends[1], "boat", 4));
    SHOW(read(ends[0], at + 2 * PAGE - 2, 4));
    SHOW(memcmp(at + 2 * PAGE - 2, "boat", 5));
    struct iovec from = {"ship", 5}, to = {at + 3 * PAGE, 5};
    SHOW(process_vm_writev(getpid(), &from, 1, &to, 1, 0));
    puts(at + 3 * PAGE);
    from = (struct iovec){at + 4 * PAGE, PAGE}, to = (struct iovec){other, PAGE};
    SHOW(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
    SHOW(is_zero(other, PAGE));
    int *word = (int *)(at + 5 * PAGE);
    const struct timespec soon = {0, 1000};
    SHOW(syscall(SYS_futex, word, 1 | 128 /* FUTEX_WAKE_PRIVATE */, 1, NULL, NULL, 0));
    SHOW(syscall(SYS_futex, word, 0 | 128 /* FUTEX_WAIT_PRIVATE */, 1, &soon, NULL, 0));
    SHOW(syscall(SYS_futex, word, 128, 0, &soon, NULL, 0));
    SHOW(syscall(SYS_futex, word, 5 | 128 /* FUTEX_WAKE_OP_PRIVATE */, 1, NULL, word + 1024, 0x00007000 /* set 7, if equal to 0 */));
    SHOW(word[1024]);
    SHOW(word[0]);
    SHOW(resident_pages(at));
    SHOW(is_zero(at + 7 * PAGE, 9 * PAGE));
}

static void device(void) {
    int zero = open("/dev/zero", O_RDWR);
    NEED(zero >= 0);
    char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    NEED(at != MAP_FAILED);
    SHOW(is_zero(at, 4 * PAGE));
    at[PAGE] = 1;
    SHOW(is_zero(at + 2 * PAGE, 2 * PAGE));
    SHOW(resident_pages(at));
    // Shared zeroes are written to by all who share them.
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    NEED(shared != MAP_FAILED);
    SHOW(is_zero(shared, PAGE));
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        shared[0] = shared[3 * PAGE] = 5;
        _exit(0);
    }
    NEED(waitpid(child, NULL, 0) == child);
    SHOW(shared[0] + shared[3 * PAGE]);
    char *elsewhere = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    SHOW(is_zero(elsewhere, 4 * PAGE));
}

int main(void) {
    much();
    rights();
    kernel();
    device();
    DONE();
}
