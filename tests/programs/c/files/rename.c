// rename replaces files and empty directories, refuses the rest; renameat2 with NOREPLACE and EXCHANGE.
#include "t.h"

int main(void) {
    enter_scratch();
    write_file("a", "text of a");
    write_file("b", "text of b");
    SHOW(rename("a", "b"));
    show_file("b");
    SHOW(access("a", F_OK));
    SHOW(rename("none", "x"));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("e", 0755));
    SHOW(rename("b", "d"));
    SHOW(rename("d", "b"));
    SHOW(rename("d", "e"));
    write_file("e/in", "inside");
    SHOW(mkdir("f", 0755));
    SHOW(rename("f", "e"));
    SHOW(rename("e", "e/sub"));
    SHOW(rename("e", "g"));
    show_file("g/in");
    SHOW(rename("b", "b"));
    SHOW(rename("b", "g/b"));
    show_file("g/b");
    write_file("one", "1");
    write_file("two", "2");
    SHOW(renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_NOREPLACE));
    SHOW(renameat2(AT_FDCWD, "one", AT_FDCWD, "two", RENAME_EXCHANGE));
    show_file("one");
    show_file("two");
    int fd = open("one", O_RDONLY);
    SHOW(rename("two", "one"));
    char c;
    SHOW(read(fd, &c, 1));
    SHOW(c);
    SHOW(rename(".", "x"));
    SHOW(rename("one", "none/x"));
    DONE();
}
