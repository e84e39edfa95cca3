// mkdir, rmdir, link counts, and what may not be done to directories.
#include "t.h"

int main(void) {
    enter_scratch();
    SHOW(mkdir("a", 0755));
    SHOW(mkdir("a", 0755));
    SHOW(mkdir("a/b/c", 0755));
    SHOW(mkdir("a/b", 0700));
    SHOW(mkdir("a/b/c/", 0700));
    struct stat st;
    stat("a/b", &st);
    SHOW(S_ISDIR(st.st_mode));
    SHOW(st.st_mode & 07777);
    SHOW(rmdir("a"));
    SHOW(rmdir("a/b/c"));
    SHOW(rmdir("a/b/."));
    SHOW(rmdir("a/b/.."));
    SHOW(rmdir("a/b"));
    SHOW(rmdir("a"));
    SHOW(rmdir("a"));
    SHOW(rmdir("/"));
    SHOW(mkdir("/", 0755));
    SHOW(mkdir(".", 0755));
    SHOW(mkdir("", 0755));
    mkdir("gone", 0755);
    SHOW(chdir("gone"));
    SHOW(rmdir("../gone"));
    SHOW(open("x", O_CREAT | O_RDWR, 0600));
    char b[PATH_MAX];
    SHOW(getcwd(b, sizeof b) == NULL ? -1 : 0);
    SHOW(chdir(".."));
    char c;
    SHOW(read(open(".", O_RDONLY), &c, 1));
    DONE();
}
