// name_to_handle_at, open_by_handle_at: what handles are, when they go stale, and who may open by them.
#include "t.h"

union {
    struct file_handle head;
    char bytes[sizeof(struct file_handle) + 200];
} a, b;
static int id;

static int get(int directory, const char *path, int flags) {
    memset(&a, 0xff, sizeof a);
    a.head.handle_bytes = 128;
    return name_to_handle_at(directory, path, &a.head, &id, flags);
}
static int get_with_room(unsigned room) {
    a.head.handle_bytes = room;
    return name_to_handle_at(AT_FDCWD, "file", &a.head, &id, 0);
}
static bool same(void) {
    return a.head.handle_bytes == b.head.handle_bytes && a.head.handle_type == b.head.handle_type &&
           !memcmp(a.head.f_handle, b.head.f_handle, a.head.handle_bytes);
}

int main(void) {
    enter_scratch();
    write_file("file", "content");
    NEED(mkdir("d", 0755) == 0 && symlink("file", "link") == 0 && linkat(AT_FDCWD, "file", AT_FDCWD, "other", 0) == 0);
    int here = open(".", O_RDONLY | O_DIRECTORY);
    SHOW(get_with_room(0));
    SHOW(a.head.handle_bytes > 0 && a.head.handle_bytes <= 128);
    SHOW(get_with_room(129));
    SHOW(get_with_room(a.head.handle_bytes = 128));
    SHOW(name_to_handle_at(AT_FDCWD, "file", NULL, &id, 0));
    SHOW(name_to_handle_at(AT_FDCWD, "file", &a.head, &id, 0x10000));
    SHOW(get(AT_FDCWD, "none", 0));
    SHOW(get(AT_FDCWD, "", 0));
    SHOW(get(-7, "file", 0));
    SHOW(get(AT_FDCWD, "file/x", 0));
    SHOW(get(AT_FDCWD, "/proc/self/status", 0));
    SHOW(get(here, "", AT_EMPTY_PATH));
    SHOW(get(AT_FDCWD, "file", 0));
    b = a;
    SHOW(get(AT_FDCWD, "other", 0));
    SHOW(same());
    SHOW(get(AT_FDCWD, "link", AT_SYMLINK_FOLLOW));
    SHOW(same());
    SHOW(get(AT_FDCWD, "link", 0));
    SHOW(same());
    SHOW(open_by_handle_at(here, &a.head, O_RDONLY));
    SHOW(open_by_handle_at(here, &a.head, O_PATH) >= 0);
    SHOW(get(AT_FDCWD, "d", 0));
    SHOW(open_by_handle_at(here, &a.head, O_WRONLY));
    int d = open_by_handle_at(here, &a.head, O_RDONLY | O_DIRECTORY);
    SHOW(openat(d, "in", O_CREAT | O_WRONLY, 0644) >= 0);
    SHOW(access("d/in", F_OK));
    // The file goes by other names.
    NEED(rename("file", "d/moved") == 0 && unlink("other") == 0);
    char text[16] = "";
    int fd = open_by_handle_at(AT_FDCWD, &b.head, O_RDONLY | O_CLOEXEC);
    SHOW(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    SHOW(read(fd, text, sizeof text));
    printf("%s\n", text);
    close(fd);
    SHOW(open_by_handle_at(here, &b.head, O_RDONLY | O_DIRECTORY));
    SHOW(open_by_handle_at(-1, &b.head, O_RDONLY));
    SHOW(open_by_handle_at(here, NULL, O_RDONLY));
    a = b;
    a.head.handle_bytes = 0;
    SHOW(open_by_handle_at(here, &a.head, O_RDONLY));
    a.head.handle_bytes = 129;
    SHOW(open_by_handle_at(here, &a.head, O_RDONLY));
    NEED(unlink("d/moved") == 0);
    SHOW(open_by_handle_at(here, &b.head, O_RDONLY));
    NEED(setuid(1000) == 0);
    SHOW(open_by_handle_at(here, &b.head, O_RDONLY));
    DONE();
}
