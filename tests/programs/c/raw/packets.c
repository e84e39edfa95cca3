// Sockets of AF_PACKET on the loopback (packet(7)): copies of what is sent and what comes, with and without the header of the link, filters,
// what is told of each, counts, frames of the program's own, and rings of versions 2 and 3 in shared memory.
#include "net.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

// On Linux in a network of its own, whose loopback is to be set up.
static void own_network(void) {
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return;
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ioctl(fd, SIOCSIFFLAGS, &r);
    close(fd);
}

static int lo;

static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

static int get(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) == 0 ? value : -errno;
}

static int bound(int type, int protocol) {
    int fd = socket(AF_PACKET, type, 0);
    NEED(fd >= 0);
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = lo};
    NEED(bind(fd, ADDR(a)) == 0);
    return fd;
}

// A filter that takes only datagrams of UDP over IPv4: the protocol is at `offset` behind the Ethernet type.
static void only_udp(int fd, int offset) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offset + 9),       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),                    BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    SHOW(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

static void about(const struct sockaddr_ll *a) {
    printf("  protocol %04x, on lo %d, hardware %d, kind %d, address of %d\n", ntohs(a->sll_protocol), a->sll_ifindex == lo, a->sll_hatype,
           a->sll_pkttype, a->sll_halen);
}

static void receive(const char *who, int fd, int flags) {
    uint8_t data[256];
    char control[256];
    struct sockaddr_ll from = {0};
    struct iovec v = {data, sizeof data};
    struct msghdr m = {&from, sizeof from, &v, 1, control, sizeof control, 0};
    if (!(flags & MSG_DONTWAIT))
        events_of(fd, POLLIN, 3000);
    ssize_t n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
    if (n < 0) {
        printf("%s: %s\n", who, t_errno(errno));
        return;
    }
    printf("%s: %zd bytes, name of %d, flags %x, ends with %.5s\n", who, n, m.msg_namelen, m.msg_flags, data + n - 5);
    about(&from);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
            struct tpacket_auxdata *x = (void *)CMSG_DATA(c);
            printf("  auxiliary data of %zu: user %d, length %d of %d, mac %d, net %d\n", (size_t)c->cmsg_len, x->tp_status & TP_STATUS_USER,
                   x->tp_snaplen, x->tp_len, x->tp_mac, x->tp_net);
        }
}

static int receiver;
static struct sockaddr_in to;

static void send_text(const char *text) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    NEED(sendto(fd, text, strlen(text), 0, ADDR(to)) == (ssize_t)strlen(text));
    char got[64];
    NEED(recv(receiver, got, sizeof got, 0) > 0);
    close(fd);
}

static void statistics(int fd) {
    struct tpacket_stats s = {0};
    socklen_t size = sizeof s;
    SHOW(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &size));
    printf("%u packets, %u lost\n", s.tp_packets, s.tp_drops);
}

static void ring2(void) {
    puts("a ring of version 2");
    int fd = bound(SOCK_RAW, ETH_P_IP);
    SHOW(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2));
    SHOW(set(fd, SOL_PACKET, PACKET_VERSION, 7));
    struct tpacket_req bad = {4096, 2, 100, 80}, r = {4096, 2, 512, 16};
    SHOW(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &bad, sizeof bad));
    SHOW(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof r));
    SHOW(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V1));
    uint8_t *ring = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(ring != MAP_FAILED);
    SHOW(events_of(fd, POLLIN, 0));
    // One more than there is room for.
    for (int i = 0; i < 17; i++) {
        char text[16];
        sprintf(text, "ring-%05d", i);
        send_text(text);
    }
    SHOW(events_of(fd, POLLIN, 3000));
    for (int i = 0; i < 16; i += 5) {
        struct tpacket2_hdr *h = (void *)(ring + i * 512);
        printf("%d: status %x, %u of %u, mac %u, net %u, text %.10s\n", i, h->tp_status & 0xf, h->tp_snaplen, h->tp_len, h->tp_mac, h->tp_net,
               ring + i * 512 + h->tp_net + 28);
        about((void *)((uint8_t *)h + TPACKET_ALIGN(sizeof *h)));
    }
    statistics(fd);
    for (int i = 0; i < 16; i++)
        ((struct tpacket2_hdr *)(ring + i * 512))->tp_status = TP_STATUS_KERNEL;
    SHOW(events_of(fd, POLLIN, 0));
    send_text("ring-again");
    SHOW(events_of(fd, POLLIN, 3000));
    printf("losing %d, text %.10s\n", ((struct tpacket2_hdr *)ring)->tp_status & TP_STATUS_LOSING, ring + ((struct tpacket2_hdr *)ring)->tp_net + 28);
    munmap(ring, 8192);
    close(fd);
}

static void ring3(void) {
    puts("a ring of version 3");
    int fd = bound(SOCK_RAW, ETH_P_IP), version = TPACKET_V3;
    socklen_t size = sizeof version;
    SHOW(getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &version, &size));
    SHOW(version);
    SHOW(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V3));
    SHOW(set(fd, SOL_PACKET, PACKET_RESERVE, 4));
    struct tpacket_req3 r = {.tp_block_size = 8192, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 8, .tp_retire_blk_tov = 10, .tp_sizeof_priv = 13};
    SHOW(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof r));
    uint8_t *ring = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(ring != MAP_FAILED);
    send_text("block-one!");
    // Linux hands a block over by time.
    SHOW(events_of(fd, POLLIN, 3000));
    struct tpacket_block_desc *b = (void *)ring;
    struct tpacket3_hdr *h = (void *)(ring + b->hdr.bh1.offset_to_first_pkt);
    printf("version %u, private at %u, status user %d, %u packets, first at %u, %u bytes, number %llu\n", b->version, b->offset_to_priv,
           b->hdr.bh1.block_status & TP_STATUS_USER, b->hdr.bh1.num_pkts, b->hdr.bh1.offset_to_first_pkt, b->hdr.bh1.blk_len,
           (unsigned long long)b->hdr.bh1.seq_num);
    printf("next %u, %u of %u, mac %u, net %u, text %.10s\n", h->tp_next_offset, h->tp_snaplen, h->tp_len, h->tp_mac, h->tp_net,
           (char *)h + h->tp_net + 28);
    about((void *)((uint8_t *)h + TPACKET_ALIGN(sizeof *h)));
    b->hdr.bh1.block_status = TP_STATUS_KERNEL;
    struct tpacket_stats_v3 s = {0};
    size = sizeof s;
    SHOW(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &size));
    printf("%u packets, %u lost, size %u\n", s.tp_packets, s.tp_drops, size);
    // Both blocks fill up, and every packet is in one of them.
    int found = 0, block = 1;
    for (int sent = 0; sent < 60; sent++) {
        char text[16];
        sprintf(text, "many-%05d", sent);
        send_text(text);
        while (events_of(fd, POLLIN, 0) & POLLIN || (sent == 59 && found < 60 && events_of(fd, POLLIN, 3000))) {
            b = (void *)(ring + block * 8192);
            if (!(b->hdr.bh1.block_status & TP_STATUS_USER))
                break;
            h = (void *)((uint8_t *)b + b->hdr.bh1.offset_to_first_pkt);
            for (unsigned i = 0; i < b->hdr.bh1.num_pkts; i++, h = (void *)((uint8_t *)h + h->tp_next_offset)) {
                sprintf(text, "many-%05d", found);
                CHECK(memcmp((char *)h + h->tp_net + 28, text, 10) == 0);
                found++;
            }
            __atomic_store_n(&b->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
            block ^= 1;
        }
    }
    SHOW(found);
    close(fd);
}

int main(void) {
    own_network();
    lo = if_nametoindex("lo");
    receiver = udp_socket();
    to = local_address(receiver);
    SHOW(socket(AF_PACKET, SOCK_STREAM, 0));
    int raw = bound(SOCK_RAW, ETH_P_ALL), cooked = bound(SOCK_DGRAM, ETH_P_IP), other = bound(SOCK_RAW, ETH_P_ARP);
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = 4711};
    SHOW(bind(other, ADDR(a)));
    socklen_t size = sizeof a;
    SHOW(getsockname(raw, (struct sockaddr *)&a, &size));
    printf("name of %u\n", size);
    about(&a);
    SHOW(get(raw, SOL_SOCKET, SO_DOMAIN));
    SHOW(get(raw, SOL_SOCKET, SO_TYPE));
    only_udp(raw, 14);
    only_udp(cooked, 0);
    SHOW(set(raw, SOL_PACKET, PACKET_AUXDATA, 1));
    struct packet_mreq m = {.mr_ifindex = lo, .mr_type = PACKET_MR_PROMISC};
    SHOW(setsockopt(raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m));
    send_text("hello");
    receive("raw: sent", raw, 0);
    receive("raw: came", raw, 0);
    receive("raw: no more", raw, MSG_DONTWAIT);
    receive("cooked", cooked, MSG_PEEK);
    receive("cooked", cooked, 0);
    receive("cooked: no more", cooked, MSG_DONTWAIT);
    receive("other", other, MSG_DONTWAIT);
    statistics(raw);
    statistics(raw);
    SHOW(set(raw, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1));
    send_text("again");
    receive("raw: came", raw, 0);
    receive("raw: no more", raw, MSG_DONTWAIT);

    // A frame of our own is seen, but IP does not take what comes from an own address.
    uint8_t frame[64];
    send_text("third");
    ssize_t n = recv(raw, frame, sizeof frame, 0);
    SHOW(n);
    struct sockaddr_ll out = {.sll_family = AF_PACKET, .sll_ifindex = lo, .sll_protocol = htons(ETH_P_IP), .sll_halen = 6};
    SHOW(sendto(raw, frame, n, 0, ADDR(out)));
    receive("raw: own", raw, 0);
    SHOW(sendto(cooked, frame + 14, n - 14, 0, ADDR(out)));
    receive("raw: own", raw, 0);
    SHOW(recv(receiver, frame, sizeof frame, MSG_DONTWAIT));
    SHOW(sendto(raw, frame, 5, 0, ADDR(out)));
    out.sll_ifindex = 4711;
    SHOW(sendto(raw, frame, n, 0, ADDR(out)));
    close(raw), close(cooked), close(other);
    ring2();
    ring3();
    return t_failures != 0;
}
