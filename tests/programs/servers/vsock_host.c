// Connects to its host by AF_VSOCK, and serves it.
#include "../c/vsock/vsock.h"

enum { TO_HOST = 6000, TO_NOBODY = 6001, FROM_HOST = 5000, TOTAL = 2 << 20 };

static unsigned char byte_at(size_t at) { return at * 31 + (at >> 11); }

// Returns what it receives, up to the end. A connection that begins with `!` ends the program.
static void *echo(void *of) {
    int fd = (intptr_t)of;
    char bytes[30000];
    ssize_t got;
    while ((got = read(fd, bytes, sizeof bytes)) > 0) {
        if (bytes[0] == '!') {
            printf("asked to end\n");
            exit(t_failures != 0);
        }
        for (ssize_t done = 0, n; done < got; done += n) {
            n = write(fd, bytes + done, got - done);
            if (n < 0) break;
        }
    }
    close(fd);
    return NULL;
}

static void *send_all(void *of) {
    int fd = (intptr_t)of;
    static unsigned char bytes[TOTAL];
    for (size_t at = 0; at < TOTAL; at++) bytes[at] = byte_at(at);
    // In pieces of many sizes.
    for (size_t at = 0, n; at < TOTAL; at += n) {
        n = 1 + at * 7919 % 50000;
        if (n > TOTAL - at) n = TOTAL - at;
        ssize_t sent = write(fd, bytes + at, n);
        CHECK(sent > 0);
        if (sent <= 0) break;
        n = sent;
    }
    return NULL;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    int device = open("/dev/vsock", O_RDONLY);
    unsigned cid = 0;
    NEED(ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) == 0);
    printf("CID %u\n", cid);
    // A machine reaches itself by its CID, and by CID 1.
    int listener = vm_socket(SOCK_STREAM), client = vm_socket(SOCK_STREAM);
    NEED(vm_bind(listener, cid, TO_NOBODY) == 0 && listen(listener, 1) == 0);
    FAILS(vm_connect(client, VMADDR_CID_LOCAL, TO_NOBODY), ECONNRESET);
    CHECK(vm_connect(client, cid, TO_NOBODY) == 0);
    close(client);
    close(listener);
    client = vm_socket(SOCK_STREAM);
    // The host's own device refuses it; vhost-device-vsock 0.3 does not answer.
    CHECK(vm_connect(client, VMADDR_CID_HOST, TO_NOBODY) == -1 && (errno == ECONNRESET || errno == ETIMEDOUT));
    CHECK(vm_connect(client, VMADDR_CID_HOST, TO_HOST) == 0);
    pthread_t sender;
    NEED(pthread_create(&sender, NULL, send_all, (void *)(intptr_t)client) == 0);
    size_t got = 0;
    bool same = true;
    static unsigned char bytes[40000];
    for (ssize_t n; got < TOTAL && (n = read(client, bytes, sizeof bytes)) > 0; got += n)
        for (ssize_t i = 0; i < n; i++) same = same && bytes[i] == byte_at(got + i);
    NEED(pthread_join(sender, NULL) == 0);
    printf("the host returned %zu bytes, %s\n", got, same ? "the same" : "others");
    CHECK(read(client, bytes, 1) == 0);
    close(client);
    listener = vm_socket(SOCK_STREAM);
    NEED(vm_bind(listener, VMADDR_CID_ANY, FROM_HOST) == 0 && listen(listener, 16) == 0);
    printf("listening\n");
    for (;;) {
        struct sockaddr_vm peer;
        socklen_t length = sizeof peer;
        int fd = accept(listener, (struct sockaddr *)&peer, &length);
        NEED(fd >= 0);
        CHECK(peer.svm_cid == VMADDR_CID_HOST);
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd) == 0);
        pthread_detach(thread);
    }
}
