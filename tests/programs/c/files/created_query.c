// F_CREATED_QUERY of fcntl(2), which Linux has since 6.12: whether the open(2) of a description made the file.
// linux: no
// stdout-has: made: 1, its duplicate: 1, opened again: 0, with O_EXCL: 1, truncated: 0, closed: EBADF
#include "t.h"

#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY 1028
#endif

int main(void) {
    enter_scratch();
    int made = open("one", O_RDWR | O_CREAT, 0600), copy = dup(made), again = open("one", O_RDWR | O_CREAT, 0600);
    int exclusive = open("two", O_RDWR | O_CREAT | O_EXCL, 0600), truncated = open("two", O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(made >= 0 && copy >= 0 && again >= 0 && exclusive >= 0 && truncated >= 0);
    printf("made: %d, its duplicate: %d, opened again: %d", fcntl(made, F_CREATED_QUERY), fcntl(copy, F_CREATED_QUERY),
           fcntl(again, F_CREATED_QUERY));
    printf(", with O_EXCL: %d, truncated: %d", fcntl(exclusive, F_CREATED_QUERY), fcntl(truncated, F_CREATED_QUERY));
    close(made);
    printf(", closed: %s\n", fcntl(made, F_CREATED_QUERY) == -1 ? t_errno(errno) : "still open");
    unlink("one");
    unlink("two");
    DONE();
}
