// Watches of inotify(7): how they are added, changed and removed, with the masks and errors of inotify_add_watch(2); reading of events, and
// waiting for them.
// machines: all
#include "notify.h"
#include <sys/epoll.h>

static void adding(void) {
    SHOW(inotify_init1(0x1234));
    int plain = inotify_init();
    NEED(plain >= 0);
    SHOW(fcntl(plain, F_GETFD) == 0 && fcntl(plain, F_GETFL) == O_RDONLY);
    int fd = new_instance();
    SHOW(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == O_NONBLOCK);
    NEED(mkdir("d", 0755) == 0 && symlink("d", "link") == 0 && symlink("none", "dangling") == 0);
    close(make_file("f"));
    SHOW(inotify_add_watch(fd, "f", 0));
    SHOW(inotify_add_watch(fd, "f", IN_DONT_FOLLOW));
    SHOW(inotify_add_watch(fd, "f", 0x10000000));
    SHOW(inotify_add_watch(fd, "none", IN_OPEN));
    SHOW(inotify_add_watch(fd, "f", IN_OPEN | IN_ONLYDIR));
    SHOW(inotify_add_watch(fd, "link", IN_OPEN | IN_ONLYDIR | IN_DONT_FOLLOW));
    SHOW(inotify_add_watch(fd, "dangling", IN_OPEN));
    SHOW(inotify_add_watch(fd, (char *)8, IN_OPEN));
    SHOW(inotify_add_watch(0, "f", IN_OPEN));
    SHOW(inotify_add_watch(99, "f", IN_OPEN));
    SHOW(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE));
    SHOW(inotify_add_watch(fd, "f", IN_OPEN));
    SHOW(inotify_add_watch(fd, "d", IN_OPEN | IN_ONLYDIR));
    SHOW(inotify_add_watch(fd, "link", IN_OPEN));
    SHOW(inotify_add_watch(fd, "link", IN_OPEN | IN_DONT_FOLLOW));
    SHOW(inotify_add_watch(fd, "dangling", IN_OPEN | IN_DONT_FOLLOW));
    SHOW(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_CREATE));
    // Another file's descriptor is not used again.
    SHOW(inotify_rm_watch(fd, 4));
    show_events("removed", fd);
    SHOW(inotify_rm_watch(fd, 4));
    SHOW(inotify_rm_watch(0, 1));
    SHOW(inotify_rm_watch(99, 1));
    SHOW(inotify_rm_watch(fd, -1));
    SHOW(inotify_add_watch(fd, "dangling", IN_OPEN | IN_DONT_FOLLOW));
    // The mask is replaced, or added to.
    close(open("f", O_RDONLY));
    show_events("IN_OPEN", fd);
    SHOW(inotify_add_watch(fd, "f", IN_CLOSE));
    close(open("f", O_RDONLY));
    show_events("IN_CLOSE", fd);
    SHOW(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_ADD));
    close(open("f", O_RDONLY));
    show_events("both", fd);
    // One event ends the watch.
    SHOW(inotify_add_watch(fd, "f", IN_OPEN | IN_ONESHOT));
    close(open("f", O_RDONLY));
    close(open("f", O_RDONLY));
    show_events("IN_ONESHOT", fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    SHOW(open(path, O_RDONLY));
    char target[64] = "";
    SHOW(readlink(path, target, sizeof target - 1));
    printf("%s\n", target);
    close(fd);
    close(plain);
}

static void reading(void) {
    int fd = new_instance();
    int file = make_file("read");
    NEED(inotify_add_watch(fd, ".", IN_CREATE | IN_OPEN) == 1 && inotify_add_watch(fd, "read", IN_MODIFY | IN_ACCESS) == 2);
    char bytes[256];
    int waiting = -1;
    SHOW(read(fd, bytes, sizeof bytes));
    SHOW(write(fd, bytes, 1));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(ioctl(fd, FIONREAD, &waiting));
    SHOW(waiting);
    NEED(write(file, "x", 1) == 1);
    SHOW(ioctl(fd, FIONREAD, &waiting));
    SHOW(waiting);
    SHOW(read(fd, bytes, 0));
    SHOW(read(fd, bytes, 15));
    SHOW(read(fd, (void *)8, 16));
    // The same event again is not queued again.
    for (int i = 0; i < 5; i++)
        NEED(write(file, "x", 1) == 1);
    close(make_file("a name of thirty-one characters"));
    close(make_file("a name of thirty-two characters!"));
    SHOW(ioctl(fd, FIONREAD, &waiting));
    SHOW(waiting);
    SHOW(read(fd, bytes, 16));
    SHOW(read(fd, bytes, 16));
    SHOW(read(fd, bytes, 47));
    SHOW(read(fd, bytes, 100));
    show_events("the rest", fd);
    struct pollfd one = {.fd = fd, .events = POLLIN | POLLOUT};
    SHOW(poll(&one, 1, 0));
    int set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    SHOW(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    SHOW(epoll_wait(set, &event, 1, 0));
    NEED(write(file, "x", 1) == 1);
    SHOW(poll(&one, 1, 0));
    SHOW(one.revents);
    SHOW(epoll_wait(set, &event, 1, 0));
    show_events("modified", fd);
    SHOW(epoll_wait(set, &event, 1, 0));
    fcntl(fd, F_SETFL, 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0)
        _exit(read(fd, bytes, sizeof bytes) == 16 ? 0 : 1);
    WAIT_UNTIL_ASLEEP(process_state(child));
    NEED(write(file, "x", 1) == 1);
    int status;
    NEED(waitpid(child, &status, 0) == child);
    SHOW(status);
    close(set);
    close(fd);
    close(file);
}

static void instances(void) {
    // Each instance has its own watches and events.
    int one = new_instance(), two = new_instance();
    close(make_file("both"));
    NEED(inotify_add_watch(one, "both", IN_OPEN) == 1 && inotify_add_watch(two, "both", IN_CLOSE) == 1);
    close(open("both", O_RDONLY));
    show_events("one", one);
    show_events("two", two);
    close(one);
    close(open("both", O_RDONLY));
    show_events("two", two);
    close(two);
    int most = 0;
    static int all[100000];
    while (most < 100000 && (all[most] = inotify_init1(0)) >= 0)
        most++;
    int error = errno;
    SHOW(error == EMFILE && most > 10);
    while (most > 0)
        close(all[--most]);
}

int main(void) {
    enter_scratch();
    adding();
    reading();
    instances();
    DONE();
}
