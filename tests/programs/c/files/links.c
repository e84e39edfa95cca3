// Hard links share a file; symbolic links are followed, read, and may dangle or loop.
#include "t.h"

int main(void) {
    enter_scratch();
    write_file("a", "shared text");
    SHOW(link("a", "b"));
    struct stat st, st2;
    stat("a", &st);
    stat("b", &st2);
    SHOW(st.st_nlink);
    CHECK(st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
    SHOW(unlink("a"));
    show_file("b");
    stat("b", &st);
    SHOW(st.st_nlink);
    SHOW(link("b", "b"));
    SHOW(link("none", "c"));
    mkdir("d", 0755);
    SHOW(link("d", "dd"));
    SHOW(symlink("b", "s"));
    show_file("s");
    char target[64] = {0};
    SHOW(readlink("s", target, sizeof target));
    puts(target);
    SHOW(readlink("s", target, 0));
    SHOW(readlink("b", target, sizeof target));
    SHOW(lstat("s", &st));
    SHOW(S_ISLNK(st.st_mode));
    SHOW(st.st_size);
    SHOW(stat("s", &st));
    SHOW(S_ISREG(st.st_mode));
    SHOW(symlink("nowhere", "dangling"));
    SHOW(stat("dangling", &st));
    SHOW(open("dangling", O_RDONLY));
    SHOW(close(open("dangling", O_WRONLY | O_CREAT, 0600)));
    SHOW(access("nowhere", F_OK));
    SHOW(symlink("loop2", "loop1"));
    SHOW(symlink("loop1", "loop2"));
    SHOW(open("loop1", O_RDONLY));
    SHOW(symlink("x", "b"));
    SHOW(symlink("../", "d/up"));
    show_file("d/up/b");
    SHOW(symlinkat("b", AT_FDCWD, "s2"));
    int dir = open("d", O_RDONLY);
    SHOW(linkat(AT_FDCWD, "s2", dir, "followed", AT_SYMLINK_FOLLOW));
    show_file("d/followed");
    SHOW(unlink("s"));
    show_file("b");
    DONE();
}
