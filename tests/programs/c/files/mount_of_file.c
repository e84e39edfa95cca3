// statx(2) says which mount a file is on (the same number as /proc/self/mountinfo), and whether it is the root of that.
#include "t.h"

static struct statx about;

static void look(const char *path) { NEED(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID, &about) == 0); }

static bool is_listed(uint64_t id, const char *at) {
    char line[4096];
    FILE *all = fopen("/proc/self/mountinfo", "r");
    NEED(all != NULL);
    bool found = false;
    while (fgets(line, sizeof line, all) != NULL) {
        unsigned long long number;
        char path[1024];
        if (sscanf(line, "%llu %*s %*s %*s %1023s", &number, path) == 2)
            found |= number == id && strcmp(path, at) == 0;
    }
    fclose(all);
    return found;
}

int main(void) {
    look("/proc");
    SHOW((about.stx_mask & STATX_MNT_ID) != 0);
    SHOW(is_listed(about.stx_mnt_id, "/proc"));
    SHOW((about.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0);
    SHOW((about.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0);
    uint64_t proc = about.stx_mnt_id;
    look("/proc/version");
    SHOW(about.stx_mnt_id == proc);
    SHOW((about.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0);
    look("/");
    SHOW(about.stx_mnt_id == proc);
    SHOW((about.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0);
    DONE();
}
