// System calls that move much data let others have their CPU, and end when they are killed.
// memory: 160M
#include "long_calls.h"
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

enum { LARGE = 64 * MB, PIECE = 2 * MB, PIECES = 1024 };

static char *large, *piece;
static int zero, urandom, sparse, sink;
static struct iovec pieces[PIECES];

static void call_getrandom(void) { syscall(SYS_getrandom, large, LARGE, 0); }
static void call_urandom(void) { read(urandom, large, LARGE); }
static void call_zero(void) { readv(zero, pieces, PIECES); }
static void call_sparse(void) { preadv(sparse, pieces, PIECES, 0); }
static void call_process(void) { process_vm_readv(getpid(), pieces, PIECES, pieces, PIECES, 0); }
static void call_entropy(void) { writev(urandom, pieces, PIECES); }
static void call_sendfile(void) {
    off_t at = 0;
    sendfile(sink, sparse, &at, 0x7ffff000);
}

static int handled;
static void handle(int signal) { handled += signal == SIGALRM; }

// A call that a signal interrupts returns what it has made until then.
static void interrupt(void) {
    struct sigaction action = {.sa_handler = handle};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerspec soon = {{0, 0}, {0, 1000000}};
    timer_t timer;
    NEED(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
    bool cut = false, whole = true, alive = true;
    for (int i = 0; i < ATTEMPTS && !cut; i++) {
        timer_settime(timer, 0, &soon, NULL);
        ssize_t n = getrandom(large, LARGE, 0);
        alive &= n > 0;
        whole &= n == LARGE || n % 4096 == 0;
        cut = n < LARGE && handled > 0;
    }
    printf("getrandom and a signal: %s, %s, %s\n", cut ? "cut" : "never cut", whole ? "whole pages" : "parts of pages",
           alive ? "never an error" : "an error");
    // Up to 256 bytes are never interrupted.
    bool all = true;
    handled = 0;
    while (handled < 20) {
        timer_settime(timer, 0, &soon, NULL);
        for (int before = handled; handled == before;)
            all &= getrandom(large, 256, 0) == 256;
    }
    printf("getrandom of 256 bytes: %s\n", all ? "always all" : "interrupted");
    timer_delete(timer);
}

int main(void) {
    enter_scratch();
    zero = open("/dev/zero", O_RDONLY);
    urandom = open("/dev/urandom", O_RDWR);
    sparse = open("sparse", O_RDWR | O_CREAT, 0600);
    sink = open("/dev/null", O_WRONLY);
    NEED(zero >= 0 && urandom >= 0 && sparse >= 0 && sink >= 0);
    NEED(ftruncate(sparse, 1L << 40) == 0);
    large = shared_memory(LARGE);
    piece = shared_memory(PIECE);
    for (int i = 0; i < PIECES; i++)
        pieces[i] = (struct iovec){piece, PIECE};
    volatile char *last = shared_memory(4096);
    pieces[PIECES - 1] = (struct iovec){(void *)last, 1};

    show("getrandom", others_run(NULL, call_getrandom), "lets others run");
    show("urandom", others_run(NULL, call_urandom), "lets others run");
    show("zero", others_run(NULL, call_zero), "lets others run");
    show("sparse file", others_run(NULL, call_sparse), "lets others run");
    show("process_vm_readv", others_run(NULL, call_process), "lets others run");
    show("write to urandom", others_run(NULL, call_entropy), "lets others run");
    show("sendfile", others_run(NULL, call_sendfile), "lets others run");

    show("getrandom", is_cut(NULL, call_getrandom, large + LARGE - 1), "is cut");
    show("urandom", is_cut(NULL, call_urandom, large + LARGE - 1), "is cut");
    show("zero", is_cut(NULL, call_zero, last), "is cut");
    show("sparse file", is_cut(NULL, call_sparse, last), "is cut");
    interrupt();
    DONE();
}
