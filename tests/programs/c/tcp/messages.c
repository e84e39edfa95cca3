// sendmsg and recvmsg with vectors; MSG_PEEK, MSG_WAITALL, MSG_DONTWAIT, MSG_TRUNC, MSG_NOSIGNAL, FIONREAD.
#include "net.h"
#include <pthread.h>
#include <sys/ioctl.h>

static int fd[2];
static void *later(void *unused) {
    (void)unused;
    wait_until_asleep(getpid());
    write(fd[0], "12", 2);
    wait_until_asleep(getpid());
    write(fd[0], "3456", 4);
    return NULL;
}

int main(void) {
    tcp_pair(fd);
    struct iovec out[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};
    SHOW(sendmsg(fd[0], &m, 0));
    char a[6] = {0}, b[32] = {0};
    SHOW(events_of(fd[1], POLLIN, 60000));
    SHOW(recv(fd[1], b, 3, MSG_PEEK));
    puts(b);
    int n;
    SHOW(ioctl(fd[1], FIONREAD, &n));
    SHOW(n);
    struct iovec in[2] = {{a, 5}, {b, 20}};
    m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
    SHOW(recvmsg(fd[1], &m, 0));
    SHOW(m.msg_flags);
    printf("%s|%s\n", a, b);
    SHOW(recv(fd[1], b, 10, MSG_DONTWAIT));
    pthread_t t;
    pthread_create(&t, NULL, later, NULL);
    memset(b, 0, sizeof b);
    SHOW(recv(fd[1], b, 6, MSG_WAITALL));
    puts(b);
    pthread_join(t, NULL);
    SHOW(send(fd[0], "xyz", 3, MSG_MORE));
    SHOW(send(fd[0], "!", 1, MSG_NOSIGNAL));
    memset(b, 0, sizeof b);
    SHOW(recv(fd[1], b, 4, MSG_WAITALL));
    puts(b);
    SHOW(sendto(fd[0], "to", 2, 0, NULL, 0));
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    SHOW(recvfrom(fd[1], b, 10, 0, (struct sockaddr *)&from, &length));
    SHOW(send(fd[0], "", 0, 0));
    write(fd[0], "dropped", 7);
    events_of(fd[1], POLLIN, 60000);
    SHOW(recv(fd[1], NULL, 7, MSG_TRUNC));
    m.msg_iovlen = 2000;
    SHOW(recvmsg(fd[1], &m, 0));
    SHOW(recvmsg(fd[1], (void *)8, 0));
    SHOW(send(fd[0], (void *)8, 4, 0));
    SHOW(recv(fd[1], b, 10, MSG_OOB));
    DONE();
}
