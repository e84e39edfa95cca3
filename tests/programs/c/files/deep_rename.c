// Renames between directories that lie in one another, and below many: none makes a directory lie in itself.
#include "t.h"

enum { DEPTH = 1000 };

// The directory at the end of a chain below `name`, each called `d`.
static int chain(const char *name, int depth) {
    NEED(mkdir(name, 0700) == 0);
    int at = open(name, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < depth; i++) {
        NEED(mkdirat(at, "d", 0700) == 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        NEED(next >= 0);
        close(at);
        at = next;
    }
    return at;
}

static void remove_chain(int root, const char *name, int end, int depth) {
    for (int i = 0; i < depth; i++) {
        int up = openat(end, "..", O_RDONLY | O_DIRECTORY);
        NEED(up >= 0 && unlinkat(up, "d", AT_REMOVEDIR) == 0);
        close(end);
        end = up;
    }
    close(end);
    SHOW(unlinkat(root, name, AT_REMOVEDIR));
}

int main(void) {
    enter_scratch();
    int root = open(".", O_RDONLY | O_DIRECTORY);
    int a = chain("a", DEPTH), b = chain("b", DEPTH);
    SHOW(mkdirat(a, "x", 0700));
    SHOW(renameat(a, "x", a, "y"));
    SHOW(renameat(a, "y", b, "y"));
    SHOW(renameat(root, "a", a, "a"));
    SHOW(renameat(root, "a", b, "y"));
    SHOW(unlinkat(root, "a", AT_REMOVEDIR));
    SHOW(renameat(root, "a", root, "c"));
    SHOW(renameat(b, "y", root, "b"));
    SHOW(renameat2(b, "y", root, "b", RENAME_EXCHANGE));
    SHOW(renameat2(root, "b", b, "y", RENAME_EXCHANGE));
    SHOW(renameat2(b, "y", root, "c", RENAME_EXCHANGE));
    SHOW(renameat2(b, "y", root, "a", RENAME_NOREPLACE));
    SHOW(renameat2(root, "a", root, "b", RENAME_EXCHANGE));
    remove_chain(root, "b", a, DEPTH);
    remove_chain(root, "a", b, DEPTH);
    DONE();
}
