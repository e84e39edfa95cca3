// Files of the image can be changed, replaced, renamed and removed; the rest of the image stays.
// data: yes
// demand: also
#include "t.h"

int main(void) {
    NEED(chdir(getenv("DATA")) == 0);
    show_file("hello.txt");
    int before = open("hello.txt", O_RDONLY);
    int fd = open("hello.txt", O_RDWR);
    NEED(fd >= 0);
    SHOW(pwrite(fd, "HELLO", 5, 0));
    show_file("hello.txt");
    char text[6] = {0};
    SHOW(pread(fd, text, 5, 0));
    puts(text);
    SHOW(pread(before, text, 5, 0));
    fd = open("pages.bin", O_RDWR);
    SHOW(pwrite(fd, "*", 1, 5000));
    unsigned char byte[2];
    SHOW(pread(fd, byte, 2, 5000));
    CHECK(byte[0] == '*' && byte[1] == pattern(5001));
    struct stat st;
    SHOW(fstat(fd, &st));
    SHOW(st.st_size);
    SHOW(unlink("tree/a"));
    SHOW(open("tree/a", O_RDONLY));
    write_file("tree/a", "new a");
    show_file("tree/a");
    SHOW(rename("tree/b", "moved"));
    show_file("moved");
    SHOW(access("tree/b", F_OK));
    SHOW(mkdir("tree/sub/new", 0755));
    write_file("tree/sub/new/file", "deep");
    show_file("tree/sub/new/file");
    SHOW(rename("tree/sub", "sub"));
    show_file("sub/new/file");
    show_file("sub/deep");
    SHOW(unlink("hello.txt"));
    SHOW(access("hello.txt", F_OK));
    SHOW(truncate("pages.bin", 10));
    SHOW(stat("pages.bin", &st));
    SHOW(st.st_size);
    SHOW(mkdir("/coracle-test-dir", 0755));
    SHOW(rmdir("/coracle-test-dir"));
    DONE();
}
