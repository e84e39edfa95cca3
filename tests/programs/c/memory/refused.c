// What mmap, mprotect, mremap and madvise refuse, and what MADV_REMOVE does to shared memory.
#include "t.h"

enum { PAGE = 4096, PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS, SHARED = MAP_SHARED | MAP_ANONYMOUS };

static void *map(int flags, int file) {
    void *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, flags, file, 0);
    NEED(at != MAP_FAILED);
    return at;
}
// 0, or -1 with errno.
static int tried(int flags, int file) {
    void *at = mmap(NULL, PAGE, PROT_READ, flags, file, 0);
    return at == MAP_FAILED ? -1 : munmap(at, PAGE);
}

int main(void) {
    enter_scratch();
    write_file("f", "text");
    int file = open("f", O_RDWR);
    NEED(ftruncate(file, 2 * PAGE) == 0);
    SHOW(tried(MAP_ANONYMOUS, -1));
    SHOW(tried(MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1));
    SHOW(tried(SHARED | MAP_GROWSDOWN, -1));
    SHOW(tried(MAP_PRIVATE | MAP_GROWSDOWN, file));
    SHOW(tried(MAP_SHARED | MAP_GROWSDOWN, file));
    SHOW(tried(MAP_SHARED_VALIDATE, file));
    SHOW(tried(MAP_SHARED_VALIDATE | 0x1000000, file));

    char *page = map(PRIVATE, -1), *shared = map(SHARED, -1), *of_file = map(MAP_SHARED, file);
    SHOW(mprotect(page, PAGE, PROT_READ | PROT_GROWSDOWN));
    SHOW(mprotect(page, PAGE, PROT_READ | PROT_GROWSUP));
    SHOW(mprotect(page, PAGE, PROT_GROWSDOWN | PROT_GROWSUP));
    SHOW(mprotect(page, 0, PROT_READ));

    SHOW((long)mremap(page, PAGE, 0, 0));
    SHOW((long)mremap(page, PAGE, (size_t)-1, 0));
    SHOW((long)mremap(page, (size_t)-1, PAGE, 0));
    SHOW((long)mremap(page, 1ul << 40, 1ul << 41, MREMAP_MAYMOVE));

    SHOW(madvise(shared, PAGE, MADV_WIPEONFORK));
    SHOW(madvise(of_file, PAGE, MADV_WIPEONFORK));
    SHOW(madvise(shared, PAGE, MADV_FREE));
    SHOW(madvise(page, PAGE, MADV_REMOVE));
    memset(shared, 'x', 2 * PAGE);
    memset(of_file, 'y', 2 * PAGE);
    SHOW(madvise(shared, PAGE, MADV_REMOVE));
    printf("%d %c\n", shared[0], shared[PAGE]);
    SHOW(madvise(of_file + PAGE, PAGE, MADV_REMOVE));
    char byte = 1;
    NEED(pread(file, &byte, 1, PAGE) == 1);
    printf("%c %d, in the file %d\n", of_file[0], of_file[PAGE], byte);
    int reader = open("f", O_RDONLY);
    char *read_only = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    SHOW(madvise(read_only, PAGE, MADV_REMOVE));
    DONE();
}
