/*
 * bytes.c
 *		A growable buffer of bytes.
 *
 * FAILURE	No memory: one line on standard error, then abort(). The line is written here and not by
 *			log.c, which needs memory itself.
 */
#include "base/bytes.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_MIN 64

static _Noreturn void
give_up(void)
{
	static const char text[] = "out of memory\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void) written;
	abort();
}

void
bytes_init(Bytes *bytes)
{
	*bytes = (Bytes){0};
}

void
bytes_free(Bytes *bytes)
{
	free(bytes->data);
	bytes_init(bytes);
}

void
bytes_clear(Bytes *bytes)
{
	bytes->size = 0;
}

static void
grow(Bytes *bytes, size_t size)
{
	size_t capacity = bytes->capacity < CAPACITY_MIN ? CAPACITY_MIN : bytes->capacity;

	if (size > SIZE_MAX / 2 - bytes->size)
		give_up();
	while (capacity < bytes->size + size)
		capacity *= 2;
	bytes->data = bytes_resize(bytes->data, capacity);
	bytes->capacity = capacity;
}

uint8_t *
bytes_reserve(Bytes *bytes, size_t size)
{
	if (size > bytes->capacity - bytes->size)
		grow(bytes, size);
	return bytes->data == NULL ? NULL : bytes->data + bytes->size;
}

void
bytes_append(Bytes *bytes, const void *data, size_t size)
{
	if (size == 0)
		return;
	memcpy(bytes_reserve(bytes, size), data, size);
	bytes->size += size;
}

void
bytes_append_u8(Bytes *bytes, uint8_t value)
{
	bytes_append(bytes, &value, sizeof(value));
}

void
bytes_append_u16(Bytes *bytes, uint16_t value)
{
	uint16_t data = htobe16(value);

	bytes_append(bytes, &data, sizeof(data));
}

void
bytes_append_u32(Bytes *bytes, uint32_t value)
{
	uint32_t data = htobe32(value);

	bytes_append(bytes, &data, sizeof(data));
}

void
bytes_append_u64(Bytes *bytes, uint64_t value)
{
	uint64_t data = htobe64(value);

	bytes_append(bytes, &data, sizeof(data));
}

void
bytes_set_u32(Bytes *bytes, size_t offset, uint32_t value)
{
	uint32_t data = htobe32(value);

	assert(offset <= bytes->size && bytes->size - offset >= sizeof(data));
	memcpy(bytes->data + offset, &data, sizeof(data));
}

uint16_t
bytes_u16(const uint8_t *data)
{
	uint16_t value;

	memcpy(&value, data, sizeof(value));
	return be16toh(value);
}

uint32_t
bytes_u32(const uint8_t *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return be32toh(value);
}

uint64_t
bytes_u64(const uint8_t *data)
{
	uint64_t value;

	memcpy(&value, data, sizeof(value));
	return be64toh(value);
}

void *
bytes_new(size_t size)
{
	void *data = malloc(size > 0 ? size : 1);

	if (data == NULL)
		give_up();
	return data;
}

void *
bytes_new_zeroed(size_t count, size_t size)
{
	void *data = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (data == NULL)
		give_up();
	return data;
}

void *
bytes_resize(void *data, size_t size)
{
	void *resized = realloc(data, size > 0 ? size : 1);

	if (resized == NULL)
		give_up();
	return resized;
}

char *
bytes_copy_text(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(bytes_new(size), text, size);
}
