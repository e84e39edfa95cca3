// msync(2) with its errors, and times of a file that is written to by way of a mapping.
#include "t.h"
#include <sys/stat.h>

// The test takes the word FAILED for a fault.
#define NO_MAP ((void *)MAP_FAILED)

#define PAGE 4096

static struct timespec modified(int fd) {
    struct stat st;
    NEED(fstat(fd, &st) == 0);
    return st.st_mtim;
}

static bool later(struct timespec a, struct timespec b) {
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

int main(void) {
    enter_scratch();
    int fd = open("a", O_RDWR | O_CREAT, 0644);
    NEED(ftruncate(fd, 4 * PAGE) == 0);
    char *map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(map != NO_MAP);
    const struct timespec old[2] = {{1, 0}, {1, 0}};
    NEED(futimens(fd, old) == 0);
    map[PAGE] = 1;
    SHOW(msync(map, 4 * PAGE, MS_SYNC));
    CHECK(later(modified(fd), old[1]));
    SHOW(msync(map, 4 * PAGE, MS_ASYNC));
    SHOW(msync(map, 0, MS_SYNC));
    SHOW(msync(map, (size_t)-1, MS_SYNC));
    SHOW(msync(map + 1, PAGE, MS_SYNC));
    SHOW(msync(map, PAGE, MS_SYNC | MS_ASYNC));
    SHOW(msync(map, PAGE, 8));
    SHOW(msync(map, PAGE, MS_INVALIDATE));
    NEED(mlock(map + PAGE, PAGE) == 0);
    SHOW(msync(map, PAGE, MS_SYNC | MS_INVALIDATE));
    SHOW(msync(map, 2 * PAGE, MS_SYNC | MS_INVALIDATE));
    SHOW(msync(map, 2 * PAGE, MS_SYNC));
    NEED(munlock(map + PAGE, PAGE) == 0);
    SHOW(msync(map, 2 * PAGE, MS_SYNC | MS_INVALIDATE));
    NEED(munmap(map + 2 * PAGE, PAGE) == 0);
    SHOW(msync(map, 4 * PAGE, MS_SYNC));
    SHOW(msync(map, 2 * PAGE, MS_SYNC));
    puts("mmap");
    SHOW(mmap(NULL, PAGE, 0xf0 | PROT_READ, MAP_SHARED, fd, 0) != NO_MAP);
    SHOW(mprotect(map, PAGE, 0x80 | PROT_READ));
    SHOW(mmap(NULL, (size_t)-1 & -PAGE, PROT_READ, MAP_SHARED, fd, 0) == NO_MAP ? -1 : 0);
    SHOW(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, INT64_MAX & -PAGE) == NO_MAP ? -1 : 0);
    SHOW(mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_HUGETLB, fd, 0) == NO_MAP ? -1 : 0);
    DONE();
}
