/*
 * port.h
 *		A listening TCP socket from `host:port`, and socket addresses as text.
 */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <sys/socket.h>

/* `[IPv6%zone]:port` with its terminator. */
#define PORT_TEXT_SIZE 96

/*
 * Listens at `host:port`, `[IPv6]:port`, or `*:port` for all addresses; port 0 lets the system
 * choose. Returns a descriptor that does not block, and in |text| the real address as
 * port_format() writes it; -1 with a line in the log. A host name is asked for and waited for: to
 * be used at the start only. With |is_shared| several processes may listen at the same port, and
 * the system shares the connections out.
 */
extern int port_open(const char *address, bool is_shared, char text[PORT_TEXT_SIZE]);

/* Writes an address as numbers: `127.0.0.1:7000` or `[::1]:7000`; "unknown" for another kind. */
extern void port_format(const struct sockaddr *address, socklen_t size, char text[PORT_TEXT_SIZE]);

#endif /* PORT_H */
