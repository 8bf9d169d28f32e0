/*
 * port.c
 *		A listening TCP socket from `host:port`, and socket addresses as text.
 */
#include "front/port.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"

/* "65535" and its terminator. */
#define NUMBER_TEXT_SIZE 6

void
port_format(const struct sockaddr *address, socklen_t size, char text[PORT_TEXT_SIZE])
{
	char host[PORT_TEXT_SIZE - sizeof("[]:") - NUMBER_TEXT_SIZE];
	char number[NUMBER_TEXT_SIZE];

	if (getnameinfo(address, size, host, sizeof(host), number, sizeof(number),
					NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, PORT_TEXT_SIZE, "unknown");
	else if (address->sa_family == AF_INET6)
		snprintf(text, PORT_TEXT_SIZE, "[%s]:%s", host, number);
	else
		snprintf(text, PORT_TEXT_SIZE, "%s:%s", host, number);
}

/* Listens at one address; -1 with errno. */
static int
listen_at(const struct addrinfo *address, bool is_shared)
{
	int on = 1;
	int why;
	int descriptor =
		socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (descriptor < 0)
		return -1;
	if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		(!is_shared || setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
		bind(descriptor, address->ai_addr, address->ai_addrlen) == 0 &&
		listen(descriptor, SOMAXCONN) == 0)
		return descriptor;
	why = errno;
	close(descriptor);
	errno = why;
	return -1;
}

/* Listens at the first of the addresses that lets us. */
static int
listen_at_any(const struct addrinfo *addresses, bool is_shared, char text[PORT_TEXT_SIZE])
{
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	int descriptor = -1;

	for (const struct addrinfo *each = addresses; each != NULL; each = each->ai_next)
	{
		descriptor = listen_at(each, is_shared);
		if (descriptor >= 0)
			break;
	}
	if (descriptor < 0)
		return -1;
	if (getsockname(descriptor, (struct sockaddr *) &bound, &size) < 0)
		size = 0;
	port_format((const struct sockaddr *) &bound, size, text);
	return descriptor;
}

int
port_open(const char *address, bool is_shared, char text[PORT_TEXT_SIZE])
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses = NULL;
	char host[ADDRESS_HOST_SIZE];
	char number[NUMBER_TEXT_SIZE];
	int port;
	int status;
	int descriptor;

	if (!address_split(address, host, sizeof(host), &port))
	{
		log_event(LOG_ERROR, "cannot listen: this is not host:port", LOG_TEXT("address", address));
		return -1;
	}
	snprintf(number, sizeof(number), "%hu", (unsigned short) port);
	status = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, number, &hints, &addresses);
	if (status != 0)
	{
		log_event(LOG_ERROR, "cannot listen: there is no such address",
				  LOG_TEXT("address", address), LOG_TEXT("why", gai_strerror(status)));
		return -1;
	}
	descriptor = listen_at_any(addresses, is_shared, text);
	if (descriptor < 0)
		log_event(LOG_ERROR, "cannot listen", LOG_TEXT("address", address),
				  LOG_TEXT("why", strerror(errno)));
	freeaddrinfo(addresses);
	return descriptor;
}
