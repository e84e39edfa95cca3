// lseek beyond the end leaves a hole of zeros; its errors; SEEK_DATA and SEEK_HOLE keep their promises.
#include "t.h"

int main(void) {
    enter_scratch();
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    SHOW(lseek(fd, 1 << 20, SEEK_SET));
    SHOW(write(fd, "end", 3));
    struct stat st;
    fstat(fd, &st);
    SHOW(st.st_size);
    CHECK(st.st_blocks * 512 < 1 << 20);
    static char zeros[4096];
    int bad = 0;
    lseek(fd, 0, SEEK_SET);
    for (int i = 0; i < 256; i++) {
        NEED(read(fd, zeros, sizeof zeros) == sizeof zeros);
        for (int j = 0; j < 4096; j++)
            bad += zeros[j] != 0;
    }
    SHOW(bad);
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(lseek(fd, -3, SEEK_END));
    SHOW(lseek(fd, -100, SEEK_CUR) < 1 << 20);
    SHOW(lseek(fd, 0, 99));
    SHOW(lseek(fd, 1 << 21, SEEK_DATA));
    SHOW(lseek(fd, 0, SEEK_HOLE) <= (1 << 20) + 3);
    SHOW(lseek(fd, 0, SEEK_DATA) <= 1 << 20);
    int p[2];
    NEED(pipe(p) == 0);
    SHOW(lseek(p[0], 0, SEEK_SET));
    SHOW(pread(p[0], zeros, 1, 0));
    DONE();
}
