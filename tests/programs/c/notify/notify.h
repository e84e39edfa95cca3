// Instances of inotify, and events in words.
#ifndef NOTIFY_H
#define NOTIFY_H
#include "t.h"
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

__attribute__((unused)) static void show_mask(uint32_t mask) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {IN_ACCESS, "ACCESS"}, {IN_MODIFY, "MODIFY"}, {IN_ATTRIB, "ATTRIB"}, {IN_CLOSE_WRITE, "CLOSE_WRITE"},
        {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"}, {IN_OPEN, "OPEN"}, {IN_MOVED_FROM, "MOVED_FROM"},
        {IN_MOVED_TO, "MOVED_TO"}, {IN_CREATE, "CREATE"}, {IN_DELETE, "DELETE"}, {IN_DELETE_SELF, "DELETE_SELF"},
        {IN_MOVE_SELF, "MOVE_SELF"}, {IN_UNMOUNT, "UNMOUNT"}, {IN_Q_OVERFLOW, "Q_OVERFLOW"}, {IN_IGNORED, "IGNORED"},
        {IN_ISDIR, "ISDIR"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mask & names[i].bit) {
            printf(" %s", names[i].name);
            mask &= ~names[i].bit;
        }
    if (mask)
        printf(" 0x%x", mask);
}

// Shows what waits at an instance.
__attribute__((unused)) static void show_events(const char *what, int fd) {
    static char buffer[65536] __attribute__((aligned(8)));
    static uint32_t last_cookie;
    printf("-- %s\n", what);
    for (;;) {
        ssize_t count = read(fd, buffer, sizeof buffer);
        if (count <= 0) {
            if (errno != EAGAIN)
                printf("%s\n", t_errno(errno));
            return;
        }
        for (char *at = buffer; at < buffer + count;) {
            struct inotify_event *event = (struct inotify_event *)at;
            printf("%d", event->wd);
            show_mask(event->mask);
            if (event->cookie)
                printf(" cookie %s", event->cookie == last_cookie ? "again" : "new");
            last_cookie = event->cookie;
            if (event->len)
                printf(" %s (%u)", event->name, event->len);
            printf("\n");
            at += sizeof *event + event->len;
        }
    }
}

__attribute__((unused)) static int new_instance(void) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    NEED(fd >= 0);
    return fd;
}

__attribute__((unused)) static int make_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    NEED(fd >= 0);
    return fd;
}

#endif
