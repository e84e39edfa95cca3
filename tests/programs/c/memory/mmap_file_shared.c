// A shared file mapping and the file are one: writes are seen both ways and by a second mapping.
#include "t.h"

int main(void) {
    enter_scratch();
    int fd = open("shared", O_RDWR | O_CREAT, 0600);
    SHOW(ftruncate(fd, 3 * 4096));
    char *a = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
    NEED(a != MAP_FAILED && b != MAP_FAILED);
    strcpy(a + 4096, "written through a");
    printf("%s\n", b);
    char text[32];
    SHOW(pread(fd, text, 18, 4096));
    printf("%s\n", text);
    SHOW(pwrite(fd, "written by pwrite", 18, 4096));
    printf("%s | %s\n", a + 4096, b);
    SHOW(msync(a, 3 * 4096, MS_SYNC));
    SHOW(msync(a + 1, 4096, MS_SYNC));
    int ro = open("shared", O_RDONLY);
    SHOW((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0));
    int wo = open("shared", O_WRONLY);
    SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, wo, 0));
    SHOW(unlink("shared"));
    a[0] = 'z';
    SHOW(pread(fd, text, 1, 0));
    SHOW(text[0]);
    close(fd);
    SHOW(munmap(a, 3 * 4096));
    printf("%s\n", b);
    DONE();
}
