// Two hundred thousand files in a directory: made, found, listed from any place while others come and go (readdir(3p),
// telldir(3), seekdir(3)), and removed.
// link: static
// memory: 256M
#include "t.h"
#include <dirent.h>

#define MANY 200000
#define CHANGES 10000

static const char *name_of(int number) {
    static char names[2][64];
    static int turn;
    char *name = names[turn ^= 1];
    snprintf(name, sizeof names[0], "a-rather-long-name-%d", number);
    return name;
}

static int number_of(const char *name) {
    int number;
    return sscanf(name, "a-rather-long-name-%d", &number) == 1 ? number : -1;
}

static int make(int number) { return mknod(name_of(number), S_IFREG | 0600, 0); }

static char seen[2 * MANY];

int main(void) {
    // In memory on Linux, too.
    char scratch[] = "/dev/shm/coracle-test-XXXXXX";
    NEED(mkdtemp(scratch) && chdir(scratch) == 0);
    NEED(mkdir("d", 0755) == 0 && chdir("d") == 0);
    for (int i = 0; i < MANY; i++)
        NEED(make(i) == 0);
    SHOW(make(MANY / 2));
    struct stat st;
    SHOW(stat(name_of(MANY - 1), &st));
    SHOW(stat(name_of(MANY), &st));
    SHOW(rename(name_of(7), name_of(8)));
    SHOW(stat(name_of(7), &st));
    NEED(make(7) == 0);

    // During the listing every tenth is removed until ten thousand are, and as many others are made: what stays is seen
    // once.
    DIR *dir = opendir(".");
    struct dirent *e;
    int twice = 0, dots = 0, turn = 0;
    while ((e = readdir(dir))) {
        int number = number_of(e->d_name);
        if (number < 0) {
            dots++;
            continue;
        }
        twice += seen[number]++;
        if (turn < CHANGES) {
            CHECK(unlink(name_of(10 * turn)) == 0);
            CHECK(make(MANY + turn) == 0);
            turn++;
        }
    }
    int stayed = 0;
    for (int i = 0; i < MANY; i++)
        stayed += (i % 10 != 0 || i >= 10 * CHANGES) && seen[i] == 1;
    SHOW(dots);
    SHOW(twice);
    SHOW(stayed);

    // Places that were told are found again, also when the entry there is gone.
    long places[50];
    int numbers[50], next[50];
    rewinddir(dir);
    for (int i = 0; i < 50; i++) {
        do {
            places[i] = telldir(dir);
            e = readdir(dir);
            NEED(e);
        } while (number_of(e->d_name) < 0);
        numbers[i] = number_of(e->d_name);
    }
    int right = 0;
    for (int i = 49; i >= 0; i--) {
        seekdir(dir, places[i]);
        e = readdir(dir);
        right += e && number_of(e->d_name) == numbers[i];
    }
    SHOW(right);
    for (int i = 0; i < 49; i += 2)
        CHECK(unlink(name_of(numbers[i])) == 0);
    right = 0;
    for (int i = 0; i < 49; i += 2) {
        seekdir(dir, places[i]);
        e = readdir(dir);
        next[i] = e ? number_of(e->d_name) : -1;
        right += next[i] == numbers[i + 1];
    }
    SHOW(right);
    closedir(dir);

    NEED(chdir("..") == 0);
    SHOW(rmdir("d"));
    dir = opendir("d");
    int removed = 0;
    NEED(chdir("d") == 0);
    while ((e = readdir(dir)))
        if (number_of(e->d_name) >= 0)
            removed += unlink(e->d_name) == 0;
    closedir(dir);
    SHOW(removed);
    NEED(chdir("..") == 0);
    SHOW(rmdir("d"));
    NEED(rmdir(scratch) == 0);
    DONE();
}
