// Connections that hold unread data until packet memory is bounded: new ones are still made and closed, for segments without
// data are not bounded, and a send that waits for memory goes on when other connections give some back (tcp(7), tcp_mem).
// memory: 64M
// machines: all
// linux: no
#include "net.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>

enum { MOST = 4000, BEYOND = 20, CHUNK = 1 << 16 };
static int client[MOST], server[MOST];
static char chunk[CHUNK];

static void *blocked_writer(void *fd) {
    write_all(*(int *)fd, chunk, 1);
    return NULL;
}

int main(void) {
    struct rlimit limit = {2 * MOST + 100, 2 * MOST + 100};
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int listener = tcp_listener(16), pairs = 0, without = 0;
    while (pairs < MOST && without < BEYOND) {
        client[pairs] = tcp_connect(listener);
        server[pairs] = accept(listener, NULL, NULL);
        NEED(server[pairs] >= 0);
        // Without memory the first byte has no room.
        ssize_t sent = send(client[pairs], chunk, CHUNK, MSG_DONTWAIT);
        NEED(sent > 0 || errno == EAGAIN);
        without = sent > 0 ? 0 : without + 1;
        pairs++;
    }
    SHOW(without == BEYOND);

    pthread_t writer;
    int last = pairs - 1;
    NEED(pthread_create(&writer, NULL, blocked_writer, &client[last]) == 0);
    sleep_ms(20);
    for (int i = 0; i < last; i++)
        NEED(close(client[i]) == 0 && close(server[i]) == 0);
    NEED(pthread_join(writer, NULL) == 0);
    char byte = 1;
    SHOW(read(server[last], &byte, 1));
    SHOW(byte);
    DONE();
}
