// Wall-clock time is today's, not a made-up one: the year comes from the machine's clock.
#include "t.h"

int main(void) {
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    // The host's own run of this program prints the same date.
    printf("%04d-%02d-%02d\n", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
    time_t example = 1234567890;
    gmtime_r(&example, &utc);
    char b[64];
    strftime(b, sizeof b, "%a %b %e %H:%M:%S %Y", &utc);
    puts(b);
    DONE();
}
