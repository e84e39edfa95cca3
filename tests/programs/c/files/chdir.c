// chdir, fchdir, getcwd, and paths relative to them.
#include "t.h"

int main(void) {
    char b[PATH_MAX];
    puts(getcwd(b, sizeof b));
    SHOW(chdir("/tmp"));
    puts(getcwd(b, sizeof b));
    enter_scratch();
    char *base = getcwd(NULL, 0);
    mkdir("d", 0755);
    mkdir("d/e", 0755);
    int top = open(".", O_RDONLY);
    SHOW(chdir("d/e"));
    getcwd(b, sizeof b);
    puts(b + strlen(base));
    write_file("here", "x");
    SHOW(access("../e/./here", F_OK));
    SHOW(chdir("../../d/../d"));
    getcwd(b, sizeof b);
    puts(b + strlen(base));
    SHOW(fchdir(top));
    SHOW(access("d/e/here", F_OK));
    SHOW(chdir("d/e/here"));
    SHOW(chdir("none"));
    SHOW(fchdir(999));
    SHOW(getcwd(b, 3) == NULL ? -1 : 0);
    SHOW(syscall(SYS_getcwd, b, sizeof b) == (long)strlen(base) + 1);
    SHOW(chdir("/../../.."));
    puts(getcwd(b, sizeof b));
    puts(realpath("/tmp/../tmp/.", b));
    DONE();
}
