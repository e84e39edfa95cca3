// O_APPEND writes at the end, wherever the offset is, through every descriptor; and may be set by fcntl.
#include "t.h"

int main(void) {
    enter_scratch();
    write_file("f", "start ");
    int a = open("f", O_WRONLY | O_APPEND), b = open("f", O_RDWR | O_APPEND);
    SHOW(write(a, "a1 ", 3));
    SHOW(write(b, "b1 ", 3));
    SHOW(lseek(a, 0, SEEK_SET));
    SHOW(write(a, "a2 ", 3));
    SHOW(lseek(a, 0, SEEK_CUR));
    show_file("f");
    int c = open("f", O_WRONLY);
    SHOW(write(c, "START", 5));
    SHOW(fcntl(c, F_SETFL, O_APPEND));
    SHOW((fcntl(c, F_GETFL) & O_APPEND) != 0);
    SHOW(write(c, "c1", 2));
    show_file("f");
    SHOW(pwrite(a, "P", 1, 0));
    show_file("f");
    DONE();
}
