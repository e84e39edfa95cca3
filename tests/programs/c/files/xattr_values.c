// Values of extended attributes: short, empty and long ones, read with buffers of all sizes, replaced and removed.
#include "t.h"
#include <sys/xattr.h>

int main(void) {
    enter_scratch();
    static char value[3000], found[4000];
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = 'a' + i % 23;
    NEED(open("f", O_RDWR | O_CREAT | O_EXCL, 0600) >= 0 && mkdir("d", 0700) == 0);
    const char *files[] = {"f", "d"};
    for (int f = 0; f < 2; f++) {
        const char *path = files[f];
        printf("%s\n", path);
        SHOW(getxattr(path, "user.none", found, sizeof found));
        SHOW(setxattr(path, "user.empty", "", 0, 0));
        SHOW(getxattr(path, "user.empty", found, sizeof found));
        SHOW(setxattr(path, "user.long", value, sizeof value, XATTR_CREATE));
        SHOW(getxattr(path, "user.long", NULL, 0));
        SHOW(getxattr(path, "user.long", found, 2999));
        SHOW(getxattr(path, "user.long", found, sizeof found));
        CHECK(memcmp(found, value, sizeof value) == 0);
        SHOW(setxattr(path, "user.long", value, 10, XATTR_CREATE));
        SHOW(setxattr(path, "user.long", value + 1, 10, XATTR_REPLACE));
        SHOW(getxattr(path, "user.long", found, sizeof found));
        CHECK(memcmp(found, value + 1, 10) == 0);
        SHOW(listxattr(path, NULL, 0) > 0);
        ssize_t len = listxattr(path, found, sizeof found);
        CHECK(len > 0 && memmem(found, len, "user.empty", 11) && memmem(found, len, "user.long", 10));
        SHOW(removexattr(path, "user.empty"));
        SHOW(removexattr(path, "user.empty"));
        SHOW(removexattr(path, "user.long"));
        SHOW(getxattr(path, "user.long", found, sizeof found));
        SHOW(removexattr("absent", "user.long"));
    }
    DONE();
}
