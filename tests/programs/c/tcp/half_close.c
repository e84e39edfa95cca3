// shutdown(SHUT_WR) ends one direction; the other goes on. SHUT_RD gives end of file.
#include "net.h"

int main(void) {
    int fd[2];
    char b[32] = {0};
    tcp_pair(fd);
    SHOW(write(fd[0], "request", 7));
    SHOW(shutdown(fd[0], SHUT_WR));
    SHOW(read(fd[1], b, 32));
    SHOW(read(fd[1], b, 32));
    SHOW((events_of(fd[1], POLLIN | POLLRDHUP, 60000) & POLLRDHUP) != 0);
    SHOW((events_of(fd[1], POLLOUT, 0) & POLLHUP) != 0);
    SHOW(write(fd[1], "answer", 6));
    SHOW(read(fd[0], b, 32));
    SHOW(send(fd[0], "x", 1, MSG_NOSIGNAL));
    SHOW(shutdown(fd[1], SHUT_WR));
    SHOW(read(fd[0], b, 32));
    SHOW((events_of(fd[0], POLLIN, 60000) & POLLHUP) != 0);
    SHOW(shutdown(fd[0], SHUT_WR));
    tcp_pair(fd);
    SHOW(shutdown(fd[0], SHUT_RD));
    SHOW(read(fd[0], b, 32));
    SHOW(shutdown(fd[0], 99));
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(shutdown(fresh, SHUT_RDWR));
    DONE();
}
