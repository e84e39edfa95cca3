// Does again and again what each trace point of the kernel is for. /data is a volume.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAM_PORT = 7000, DATAGRAM_PORT, FULL_PORT, NO_PORT, PAGES = 16, PAGE = 4096 };

static void *take_bytes(void *from) {
    char byte;
    while (read(*(int *)from, &byte, 1) == 1)
        ;
    return NULL;
}

static struct sockaddr_in at(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int opened(int type, int port, int is_bound) {
    int fd = socket(AF_INET, type, 0);
    struct sockaddr_in address = at(port);
    if (is_bound) {
        bind(fd, (struct sockaddr *)&address, sizeof address);
    } else if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && type == SOCK_STREAM) {
        close(fd);
        return -1;
    }
    return fd;
}

// A peer that does not read: its window closes.
static void fill_window(int listener) {
    static char bytes[1 << 16];
    int client = opened(SOCK_STREAM, STREAM_PORT, 0);
    int server = accept(listener, NULL, NULL);
    fcntl(client, F_SETFL, O_NONBLOCK);
    while (write(client, bytes, sizeof bytes) > 0)
        ;
    usleep(50000);
    close(server);
    close(client);
}

int main(void) {
    int ends[2];
    pthread_t thread;
    if (pipe(ends) != 0 || pthread_create(&thread, NULL, take_bytes, &ends[0]) != 0)
        return 1;
    int listener = opened(SOCK_STREAM, STREAM_PORT, 1), full = opened(SOCK_STREAM, FULL_PORT, 1);
    listen(listener, 8);
    // Of these only the first are taken; the others are sent again.
    listen(full, 0);
    struct sockaddr_in address = at(FULL_PORT);
    for (int i = 0; i < 4; i++)
        connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&address, sizeof address);
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (write(ends[1], "x", 1) != 1)
            return 1;
        char *pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(pages, 1, PAGES * PAGE);
        munmap(pages, PAGES * PAGE);
        int file = open("/data/file", O_CREAT | O_WRONLY | O_TRUNC, 0644);
        if (write(file, "kept", 4) != 4 || fsync(file) != 0)
            return 1;
        close(file);
        fill_window(listener);
        opened(SOCK_STREAM, NO_PORT, 0);
        int receiver = opened(SOCK_DGRAM, DATAGRAM_PORT, 1), sender = opened(SOCK_DGRAM, DATAGRAM_PORT, 0);
        char datagram[1000] = {0};
        int size = 4096;
        setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        for (int i = 0; i < 20; i++)
            send(sender, datagram, sizeof datagram, 0);
        close(sender);
        close(receiver);
    }
}
