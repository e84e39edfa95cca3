// /tmp, /run and /dev/shm are there, writable, with the modes programs expect.
#include "t.h"
#include <sys/statfs.h>

int main(void) {
    const char *directory[] = {"/tmp", "/run", "/dev/shm"};
    for (int i = 0; i < 3; i++) {
        struct stat st;
        CHECK(stat(directory[i], &st) == 0 && S_ISDIR(st.st_mode));
        char name[64];
        snprintf(name, sizeof name, "%s/coracle-test-file-%d", directory[i], i);
        write_file(name, directory[i]);
        show_file(name);
        SHOW(unlink(name));
    }
    struct stat st;
    stat("/tmp", &st);
    SHOW(st.st_mode & 07777);
    int fd = shm_open("/coracle-test-shm", O_CREAT | O_EXCL | O_RDWR, 0600);
    SHOW(fd >= 0);
    SHOW(ftruncate(fd, 4096));
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(m != MAP_FAILED);
    SHOW(shm_unlink("/coracle-test-shm"));
    struct statfs fs;
    SHOW(statfs("/dev/shm", &fs));
    CHECK(fs.f_type == 0x01021994 && fs.f_bsize == 4096); // TMPFS_MAGIC
    SHOW(statfs("/none", &fs));
    SHOW(fstatfs(fd, &fs));
    DONE();
}
