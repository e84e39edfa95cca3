// Lists of sockets by netlink (sock_diag(7)), as ss asks for them: what is told of a program's own sockets, by state and protocol.
#include "net.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>

static int diag;
static unsigned own[16];
static int count;

static unsigned inode(int fd) {
    struct stat s;
    NEED(fstat(fd, &s) == 0);
    return s.st_ino;
}

static int is_own(unsigned number) {
    for (int i = 0; i < count; i++)
        if (own[i] == number)
            return i;
    return -1;
}

static const void *attribute(struct nlmsghdr *h, size_t fixed, int wanted, int *length) {
    struct nlattr *a = (struct nlattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(fixed));
    int left = h->nlmsg_len - NLMSG_LENGTH(fixed);
    while (left >= (int)sizeof *a) {
        if (a->nla_type == wanted) {
            *length = a->nla_len - NLA_HDRLEN;
            return (char *)a + NLA_HDRLEN;
        }
        left -= NLA_ALIGN(a->nla_len);
        a = (struct nlattr *)((char *)a + NLA_ALIGN(a->nla_len));
    }
    *length = -1;
    return NULL;
}

static void show(struct nlmsghdr *h) {
    int length;
    unsigned char family = *(unsigned char *)NLMSG_DATA(h);
    if (family == AF_INET || family == AF_INET6) {
        struct inet_diag_msg *m = NLMSG_DATA(h);
        int which = is_own(m->idiag_inode);
        if (which < 0)
            return;
        printf("  %d: family %d, state %d, timer %d, %u to read, %u to send, port %s, peer %s\n", which, family, m->idiag_state, m->idiag_timer,
               m->idiag_rqueue, m->idiag_wqueue, m->id.idiag_sport ? "there" : "none", m->id.idiag_dport ? "there" : "none");
        const struct tcp_info *info = attribute(h, sizeof *m, INET_DIAG_INFO, &length);
        if (info && length > 100)
            printf("     state %d by tcp_info\n", info->tcpi_state);
        const char *congestion = attribute(h, sizeof *m, INET_DIAG_CONG, &length);
        printf("     congestion control %s\n", congestion ? "named" : "not named");
        attribute(h, sizeof *m, INET_DIAG_SKMEMINFO, &length);
        printf("     memory of %d\n", length);
    } else if (family == AF_UNIX) {
        struct unix_diag_msg *m = NLMSG_DATA(h);
        int which = is_own(m->udiag_ino);
        if (which < 0)
            return;
        const char *name = attribute(h, sizeof *m, UNIX_DIAG_NAME, &length);
        printf("  %d: type %d, state %d, name %s of %d", which, m->udiag_type, m->udiag_state, name ? name + !*name : "none", length);
        const unsigned *peer = attribute(h, sizeof *m, UNIX_DIAG_PEER, &length);
        const unsigned *queues = attribute(h, sizeof *m, UNIX_DIAG_RQLEN, &length);
        printf(", peer %d, queues %u %u\n", peer ? is_own(*peer) : -1, queues ? queues[0] : 99, queues ? queues[1] : 99);
    } else if (family == AF_PACKET) {
        struct packet_diag_msg *m = NLMSG_DATA(h);
        int which = is_own(m->pdiag_ino);
        const struct packet_diag_info *info = attribute(h, sizeof *m, PACKET_DIAG_INFO, &length);
        if (which >= 0)
            printf("  %d: type %d, protocol %x, interface %d\n", which, m->pdiag_type, m->pdiag_num, info ? info->pdi_index : 99);
    } else if (family == AF_NETLINK) {
        struct netlink_diag_msg *m = NLMSG_DATA(h);
        int which = is_own(m->ndiag_ino);
        if (which >= 0)
            printf("  %d: type %d, protocol %d\n", which, m->ndiag_type, m->ndiag_protocol);
    }
}

static void dump(const char *what, const void *query, size_t length) {
    static char buffer[1 << 16] __attribute__((aligned(8)));
    struct nlmsghdr h = {NLMSG_LENGTH(length), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 7, 0};
    memcpy(buffer, &h, sizeof h);
    memcpy(buffer + NLMSG_HDRLEN, query, length);
    printf("%s\n", what);
    NEED(send(diag, buffer, h.nlmsg_len, 0) > 0);
    for (;;) {
        ssize_t n = recv(diag, buffer, sizeof buffer, 0);
        NEED(n > 0);
        for (struct nlmsghdr *m = (void *)buffer; NLMSG_OK(m, n); m = NLMSG_NEXT(m, n)) {
            if (m->nlmsg_type == NLMSG_DONE) {
                int result = *(int *)NLMSG_DATA(m);
                if (result < 0)
                    printf("  ends with %s\n", t_errno(-result));
                return;
            }
            if (m->nlmsg_type == NLMSG_ERROR) {
                printf("  %s\n", t_errno(-((struct nlmsgerr *)NLMSG_DATA(m))->error));
                return;
            }
            show(m);
        }
    }
}

static void inet(const char *what, int family, int protocol, unsigned states, int extensions) {
    struct inet_diag_req_v2 q = {.sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = states, .idiag_ext = extensions};
    dump(what, &q, sizeof q);
}

int main(void) {
    if (unshare(CLONE_NEWNET) < 0)
        (void)!unshare(CLONE_NEWUSER | CLONE_NEWNET);
    diag = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    NEED(diag >= 0);
    int listener = tcp_listener(5), udp = udp_socket(), raw = socket(AF_INET, SOCK_RAW, 89);
    int listener6 = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    NEED(bind(listener6, ADDR(a6)) == 0 && listen(listener6, 7) == 0);
    int pair[2], named = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    struct sockaddr_un u = {.sun_family = AF_UNIX, .sun_path = "\0diag-test"};
    NEED(bind(named, (struct sockaddr *)&u, 2 + 10) == 0 && listen(named, 3) == 0);
    NEED(write(pair[0], "12345", 5) == 5);
    int packet = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ARP));
    int all[] = {listener, udp, raw, listener6, pair[0], pair[1], named, packet, diag};
    for (; count < (int)(sizeof all / sizeof *all); count++)
        own[count] = inode(all[count]);
    int extensions = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_CONG - 1) | 1 << (INET_DIAG_SKMEMINFO - 1);
    inet("listeners", AF_INET, IPPROTO_TCP, 1 << TCP_LISTEN, extensions);
    inet("none that listen", AF_INET, IPPROTO_TCP, ~(1u << TCP_LISTEN), extensions);
    inet("v6", AF_INET6, IPPROTO_TCP, ~0u, 0);
    inet("udp", AF_INET, IPPROTO_UDP, ~0u, extensions);
    inet("udp that is connected", AF_INET, IPPROTO_UDP, 1 << TCP_ESTABLISHED, 0);
    inet("a protocol without a list", AF_INET, 99, ~0u, 0);
    struct unix_diag_req q = {.sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN};
    // Linux lists these in the order of a hash: one state at a time.
    q.udiag_states = 1 << TCP_LISTEN;
    dump("unix that listen", &q, sizeof q);
    struct packet_diag_req p = {.sdiag_family = AF_PACKET, .pdiag_show = PACKET_SHOW_INFO};
    dump("packet", &p, sizeof p);
    struct netlink_diag_req n = {.sdiag_family = AF_NETLINK, .sdiag_protocol = NDIAG_PROTO_ALL};
    dump("netlink", &n, sizeof n);
    struct sock_diag_req bad = {.sdiag_family = 77};
    dump("no family", &bad, sizeof bad);
    return t_failures != 0;
}
