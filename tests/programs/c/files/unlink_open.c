// A file without a name lives on while it is open.
#include "t.h"

int main(void) {
    enter_scratch();
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    SHOW(write(fd, "still here", 10));
    SHOW(unlink("f"));
    SHOW(open("f", O_RDONLY));
    char b[16] = {0};
    SHOW(pread(fd, b, 10, 0));
    puts(b);
    struct stat st;
    SHOW(fstat(fd, &st));
    SHOW(st.st_nlink);
    SHOW(ftruncate(fd, 1 << 20));
    SHOW(unlink("f"));
    mkdir("d", 0700);
    SHOW(unlink("d"));
    SHOW(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR));
    SHOW(rmdir("d"));
    write_file("g", "x");
    SHOW(rmdir("g"));
    SHOW(unlink("g/"));
    SHOW(unlink("g"));
    DONE();
}
