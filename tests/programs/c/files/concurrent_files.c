// Threads create, write, rename and remove files in one directory at once; nothing is lost or doubled.
#include "t.h"
#include <dirent.h>
#include <pthread.h>

static int shared;
static void *work(void *argument) {
    long id = (long)argument;
    for (int i = 0; i < 100; i++) {
        char a[32], b[32];
        snprintf(a, sizeof a, "t%ld-%d", id, i);
        snprintf(b, sizeof b, "r%ld-%d", id, i);
        write_file(a, a);
        CHECK(rename(a, b) == 0);
        if (i % 2)
            CHECK(unlink(b) == 0);
        CHECK(write(shared, "line of ten\n", 12) == 12);
    }
    return NULL;
}

int main(void) {
    enter_scratch();
    shared = open("log", O_CREAT | O_WRONLY | O_APPEND, 0600);
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    int n = 0;
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] == 'r';
    SHOW(n);
    struct stat st;
    stat("log", &st);
    SHOW(st.st_size);
    DONE();
}
