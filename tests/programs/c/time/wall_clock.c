// Wall-clock time is today's, not a made-up one: the year comes from the machine's clock.
#include "t.h"

int main(void) {
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    // The host's own run of this program prints the same year. Its day may have ended meanwhile.
    printf("%04d\n", utc.tm_year + 1900);
    time_t example = 1234567890;
    gmtime_r(&example, &utc);
    char b[64];
    strftime(b, sizeof b, "%a %b %e %H:%M:%S %Y", &utc);
    puts(b);
    DONE();
}
