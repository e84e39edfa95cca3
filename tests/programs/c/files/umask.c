// umask takes bits away from new files and directories and returns the old mask.
#include "t.h"

static int mode(const char *name) {
    struct stat st;
    return stat(name, &st) ? -1 : (int)(st.st_mode & 07777);
}

int main(void) {
    enter_scratch();
    umask(022);
    SHOW(umask(077));
    SHOW(close(open("a", O_CREAT | O_WRONLY, 0666)));
    SHOW(mkdir("d", 0777));
    SHOW(mode("a"));
    SHOW(mode("d"));
    SHOW(umask(0));
    SHOW(close(open("b", O_CREAT | O_WRONLY, 0666)));
    SHOW(mkdir("e", 01777));
    SHOW(mode("b"));
    SHOW(mode("e"));
    SHOW(umask(01777));
    SHOW(umask(0));
    SHOW(mknod("fifo", S_IFIFO | 0644, 0));
    struct stat st;
    SHOW(stat("fifo", &st));
    SHOW(S_ISFIFO(st.st_mode));
    DONE();
}
