// What the test programs about interfaces share: requests of rtnetlink(7) that change links and addresses.
#ifndef NETLINK_H
#define NETLINK_H

#include "t.h"
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

// A request for a change, and the error that the kernel answers.
static int change(int type, int flags, const void *body, size_t size, int kind, const void *value, size_t len) {
    struct {
        struct nlmsghdr head;
        char rest[128];
    } request = {.head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags, .nlmsg_seq = 7}};
    memcpy(request.rest, body, size);
    size_t total = NLMSG_LENGTH(size);
    if (len) {
        struct rtattr *attribute = (void *)(request.rest + size);
        attribute->rta_type = kind;
        attribute->rta_len = RTA_LENGTH(len);
        memcpy(RTA_DATA(attribute), value, len);
        total += RTA_SPACE(len);
    }
    request.head.nlmsg_len = total;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    NEED(fd >= 0 && send(fd, &request, total, 0) == (ssize_t)total);
    char answer[1024];
    NEED(recv(fd, answer, sizeof answer, 0) > 0);
    close(fd);
    struct nlmsghdr *head = (void *)answer;
    NEED(head->nlmsg_type == NLMSG_ERROR && head->nlmsg_seq == 7);
    errno = -((struct nlmsgerr *)NLMSG_DATA(head))->error;
    return errno ? -1 : 0;
}
__attribute__((unused)) static int set_link(int index, unsigned flags, unsigned mask) {
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = flags, .ifi_change = mask};
    return change(RTM_NEWLINK, 0, &link, sizeof link, 0, NULL, 0);
}
__attribute__((unused)) static int address(int type, int flags, const char *text, int prefix, int index) {
    struct ifaddrmsg own = {.ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = index};
    in_addr_t ip = inet_addr(text);
    return change(type, flags, &own, sizeof own, IFA_LOCAL, &ip, sizeof ip);
}

#endif
