// Futexes in memory that may only be read: those of shared mappings work, and a waiter is woken by another mapping of the page.
// flags: -pthread
// machines: all
#include "futex.h"

enum { PAGE = 4096 };
static uint32_t *read_only;

static long call(uint32_t *word, int operation, uint32_t value, uint32_t *second) {
    return futex(word, operation, value, (void *)1, second, 0);
}

static long wait_for(uint32_t *word, int operation, uint32_t value) {
    return futex(word, operation, value, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void *wait_in_thread(void *unused) {
    (void)unused;
    about_to_wait();
    long result = wait_for(read_only, FUTEX_WAIT, 0);
    return (void *)(result == 0 ? 0 : (long)errno);
}

// What each operation gives on a word of a page that may only be read.
static void try(const char *name, uint32_t *word) {
    puts(name);
    SHOW(wait_for(word, FUTEX_WAIT, 1));
    SHOW(wait_for(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1));
    SHOW(wait_for(word, FUTEX_WAIT_BITSET, 1));
    SHOW(call(word, FUTEX_WAKE, 1, NULL));
    SHOW(call(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL));
    SHOW(call(word, FUTEX_REQUEUE, 1, word + 1));
    SHOW(call(word, FUTEX_WAKE_OP, 1, word));
}

int main(void) {
    enter_scratch();
    write_file("f", "");
    int file = open("f", O_RDWR), reader = open("f", O_RDONLY);
    NEED(ftruncate(file, PAGE) == 0);
    uint32_t *writable = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    read_only = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    uint32_t *anonymous = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t *touched = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *untouched = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *private = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
    uint32_t *none = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED, file, 0);
    NEED(writable != MAP_FAILED && read_only != MAP_FAILED && anonymous != MAP_FAILED && touched != MAP_FAILED);
    NEED(untouched != MAP_FAILED && private != MAP_FAILED && none != MAP_FAILED);
    touched[1] = 7;
    NEED(mprotect(touched, PAGE, PROT_READ) == 0);
    try("shared file", read_only);
    try("shared anonymous", anonymous);
    try("private, written", touched);
    try("private, untouched", untouched);
    try("private file", private);
    try("no rights", none);

    pthread_t thread;
    NEED(pthread_create(&thread, NULL, wait_in_thread, NULL) == 0);
    wait_until_all_wait(1);
    SHOW(call(writable, FUTEX_WAKE, 1, NULL));
    void *result;
    NEED(pthread_join(thread, &result) == 0);
    SHOW((long)result);
    DONE();
}
