// mlock, mlockall, mincore and memfd: small calls of memory that programs make at start.
#include "t.h"

int main(void) {
    char *a = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SHOW(mlock(a, 4096));
    SHOW(munlock(a, 4096));
    a[4096] = 1;
    unsigned char resident[4];
    SHOW(mincore(a, 4 * 4096, resident));
    SHOW(resident[1] & 1);
    SHOW(resident[3] & 1);
    munmap(a, 4096);
    SHOW(mincore(a, 4096, resident));
    SHOW(mincore(a + 4097, 4096, resident));
    int fd = memfd_create("name", MFD_CLOEXEC);
    CHECK(fd >= 0);
    SHOW(ftruncate(fd, 8192));
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED);
    strcpy(m, "memfd");
    char text[8];
    SHOW(pread(fd, text, 6, 0));
    puts(text);
    struct stat st;
    SHOW(fstat(fd, &st));
    SHOW(S_ISREG(st.st_mode));
    SHOW(st.st_nlink);
    DONE();
}
