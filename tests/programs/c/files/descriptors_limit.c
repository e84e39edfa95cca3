// RLIMIT_NOFILE bounds the descriptors: EMFILE beyond it, and thousands of them below it.
#include "t.h"
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

// What can't be given a descriptor does not happen: no file is emptied or made, and no connection is taken from the queue.
static void at_the_limit(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    struct stat st;
    int file = open("file", O_CREAT | O_WRONLY, 0644);
    NEED(file >= 0 && write(file, "bytes", 5) == 5);
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    NEED(bind(listener, (void *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    NEED(getsockname(listener, (void *)&address, &len) == 0 && connect(client, (void *)&address, len) == 0);
    struct rlimit before, full;
    NEED(getrlimit(RLIMIT_NOFILE, &before) == 0);
    full = (struct rlimit){client + 1, before.rlim_max};
    NEED(setrlimit(RLIMIT_NOFILE, &full) == 0);
    while (dup(0) >= 0)
        ;
    SHOW(open("file", O_WRONLY | O_TRUNC));
    SHOW(open("new", O_WRONLY | O_CREAT, 0644));
    SHOW(accept(listener, NULL, NULL));
    NEED(setrlimit(RLIMIT_NOFILE, &before) == 0);
    SHOW(stat("file", &st) == 0 && st.st_size == 5);
    SHOW(access("new", F_OK));
    SHOW(accept(listener, NULL, NULL) > client);
    SHOW(close_range(3, ~0u, 0));
}

int main(void) {
    enter_scratch();
    at_the_limit();
    struct rlimit limit = {64, 4096};
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    int fd, last = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        last = fd;
    SHOW(fd);
    printf("%s\n", t_errno(errno));
    SHOW(last);
    SHOW(dup(0));
    int p[2];
    SHOW(pipe(p));
    limit.rlim_cur = 4000;
    SHOW(setrlimit(RLIMIT_NOFILE, &limit));
    while ((fd = dup(0)) >= 0)
        last = fd;
    SHOW(last);
    for (int i = 3; i <= last; i += 2)
        close(i);
    SHOW(dup(0));
    SHOW(close_range(3, ~0u, 0));
    SHOW(dup(0));
    DONE();
}
