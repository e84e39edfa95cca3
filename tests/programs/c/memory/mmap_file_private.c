// A private file mapping shows the file, is copied on write, leaves the file alone, and is zero after its end.
// data: yes
// demand: also
#include "t.h"

int main(void) {
    int fd = open(data_file("pages.bin"), O_RDONLY);
    NEED(fd >= 0);
    struct stat st;
    fstat(fd, &st);
    SHOW(st.st_size);
    size_t length = (size_t)st.st_size;
    unsigned char *m = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    NEED(m != MAP_FAILED);
    unsigned char *twin = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096);
    NEED(twin != MAP_FAILED);
    size_t bad = 0;
    for (size_t i = 0; i < length; i++)
        bad += m[i] != pattern(i);
    SHOW(bad);
    for (size_t i = length; i % 4096; i++)
        bad += m[i] != 0;
    SHOW(bad);
    m[4096] = 0xee;
    m[4097] = 0xdd;
    CHECK(twin[0] == pattern(4096) && twin[1] == pattern(4097) && m[4098] == pattern(4098));
    unsigned char byte;
    SHOW(pread(fd, &byte, 1, 4096));
    CHECK(byte == pattern(4096));
    close(fd);
    CHECK(m[8192] == pattern(8192));
    SHOW(munmap(m, length));
    DONE();
}
