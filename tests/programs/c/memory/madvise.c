// madvise(MADV_DONTNEED) empties anonymous pages and brings back those of files; other advice is taken or refused.
// data: yes
// demand: also
#include "t.h"

int main(void) {
    char *a = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 5, 4 * 4096);
    SHOW(madvise(a + 4096, 2 * 4096, MADV_DONTNEED));
    printf("%d %d %d %d\n", a[0], a[4096], a[3 * 4096 - 1], a[3 * 4096]);
    int fd = open(data_file("pages.bin"), O_RDONLY);
    unsigned char *f = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    f[10] = 0xaa;
    SHOW(madvise(f, 4096, MADV_DONTNEED));
    CHECK(f[10] == pattern(10));
    SHOW(madvise(a, 4096, MADV_NORMAL));
    SHOW(madvise(a, 4096, MADV_WILLNEED));
    SHOW(madvise(a, 4096, MADV_SEQUENTIAL));
    SHOW(madvise(a, 4096, MADV_FREE));
    SHOW(madvise(a + 1, 4096, MADV_DONTNEED));
    SHOW(madvise(a, 4096, 12345));
    SHOW(madvise(a, 0, MADV_DONTNEED));
    munmap(a, 4096);
    SHOW(madvise(a, 2 * 4096, MADV_DONTNEED));
    DONE();
}
