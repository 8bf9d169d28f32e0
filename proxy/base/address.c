/*
 * address.c
 *		Addresses as people write them.
 */
#include "base/address.h"

#include <string.h>

#define PORT_MAX 65535

/* Decimal digits and nothing else: strtol() would take blanks and signs. */
static bool
parse_port(const char *text, int *port)
{
	int value = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++)
	{
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (*text - '0');
		if (value > PORT_MAX)
			return false;
	}
	*port = value;
	return true;
}

bool
address_split(const char *text, char *host, size_t host_size, int *port)
{
	const char *begin = text;
	const char *end;
	const char *colon;

	if (*text == '[')
	{
		begin = text + 1;
		end = strchr(begin, ']');
		if (end == NULL)
			return false;
		colon = end + 1;
	}
	else
	{
		/* A second colon is a version 6 address without its brackets. */
		end = colon = strchr(begin, ':');
		if (end == NULL || strchr(end + 1, ':') != NULL)
			return false;
	}
	if (*colon != ':' || end == begin || (size_t) (end - begin) >= host_size)
		return false;
	if (strcspn(begin, " \t,[]/") < (size_t) (end - begin))
		return false;

	memcpy(host, begin, (size_t) (end - begin));
	host[end - begin] = '\0';
	return parse_port(colon + 1, port);
}

bool
address_next(const char **list, char item[ADDRESS_TEXT_SIZE])
{
	const char *begin = *list;
	size_t size;

	if (begin == NULL)
		return false;
	size = strcspn(begin, ",");
	*list = begin[size] == ',' ? begin + size + 1 : NULL;

	while (size > 0 && strchr(" \t", *begin) != NULL)
	{
		begin++;
		size--;
	}
	while (size > 0 && strchr(" \t", begin[size - 1]) != NULL)
		size--;
	if (size >= ADDRESS_TEXT_SIZE)
		size = ADDRESS_TEXT_SIZE - 1;
	memcpy(item, begin, size);
	item[size] = '\0';
	return true;
}
