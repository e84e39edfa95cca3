// Sends messages by syslog(3): one of each kind that a daemon tells apart, and one that is longer than a packet of the control port.
#include <string.h>
#include <syslog.h>

int main(void) {
    char text[6001];
    openlog("speaker", LOG_PID, LOG_LOCAL3);
    syslog(LOG_WARNING, "of local3: %d", 42);
    syslog(LOG_AUTH | LOG_ERR, "of auth");
    memset(text, 'x', 6000);
    text[6000] = 0;
    syslog(LOG_INFO, "%s", text);
    closelog();
    return 0;
}
