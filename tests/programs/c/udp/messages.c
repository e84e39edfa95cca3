// sendmsg, recvmsg, sendmmsg and recvmmsg on UDP; time-outs; MSG_TRUNC in the flags.
#include "net.h"

int main(void) {
    int a = udp_socket(), b = udp_socket();
    struct sockaddr_in to = local_address(b), from;
    struct iovec out[2] = {{"gather", 6}, {"ed", 2}};
    struct msghdr m = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = out, .msg_iovlen = 2};
    SHOW(sendmsg(a, &m, 0));
    char text[5] = {0}, control[128];
    struct iovec in = {text, 4};
    m = (struct msghdr){&from, sizeof from, &in, 1, control, sizeof control, 0};
    SHOW(sendto(a, "second", 6, 0, ADDR(to)));
    SHOW(recvmsg(b, &m, 0));
    SHOW((m.msg_flags & MSG_TRUNC) != 0);
    SHOW(m.msg_namelen);
    puts(text);
    m.msg_controllen = sizeof control;
    SHOW(recvmsg(b, &m, 0));
    SHOW(m.msg_controllen);
    struct mmsghdr many[3];
    char body[3][8] = {"m-one", "m-two", "m-three"};
    struct iovec v[3];
    memset(many, 0, sizeof many);
    for (int i = 0; i < 3; i++) {
        v[i] = (struct iovec){body[i], strlen(body[i])};
        many[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &v[i], .msg_iovlen = 1};
    }
    SHOW(sendmmsg(a, many, 3, 0));
    SHOW(many[2].msg_len);
    char got[4][8] = {{0}};
    struct mmsghdr receive[4];
    struct iovec w[4];
    memset(receive, 0, sizeof receive);
    for (int i = 0; i < 4; i++) {
        w[i] = (struct iovec){got[i], 7};
        receive[i].msg_hdr = (struct msghdr){.msg_iov = &w[i], .msg_iovlen = 1};
    }
    SHOW(recvmmsg(b, receive, 4, MSG_WAITFORONE, NULL));
    for (int i = 0; i < 3; i++)
        printf("%s %u\n", got[i], receive[i].msg_len);
    struct timeval t = {0, 30000};
    setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    SHOW(recv(b, text, 4, 0));
    DONE();
}
