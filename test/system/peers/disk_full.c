/*
 * disk_full.c
 *		A library for LD_PRELOAD: a disk without room, for one server.
 *
 * While the file that DISK_FULL names exists, no file on the disk of the working directory grows:
 * ENOSPC, as a full file system says. What is written over what is there goes on, as there, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether a write up to |end| needs room where there is none; sets errno. */
static bool
is_refused(int file, off_t end)
{
	const char *sign = getenv("DISK_FULL");
	int saved = errno;
	struct stat status;
	struct stat place;
	bool is_full = file > STDERR_FILENO && sign != NULL && access(sign, F_OK) == 0 &&
				   fstat(file, &status) == 0 && S_ISREG(status.st_mode) && end > status.st_size &&
				   stat(".", &place) == 0 && place.st_dev == status.st_dev;

	errno = is_full ? ENOSPC : saved;
	return is_full;
}

static off_t
length_of(const struct iovec *parts, int count)
{
	off_t length = 0;

	for (int i = 0; i < count; i++)
		length += (off_t) parts[i].iov_len;
	return length;
}

ssize_t
write(int file, const void *data, size_t size)
{
	static ssize_t (*next)(int, const void *, size_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "write");
	if (is_refused(file, lseek(file, 0, SEEK_CUR) + (off_t) size))
		return -1;
	return next(file, data, size);
}

ssize_t
pwrite(int file, const void *data, size_t size, off_t offset)
{
	static ssize_t (*next)(int, const void *, size_t, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "pwrite");
	return is_refused(file, offset + (off_t) size) ? -1 : next(file, data, size, offset);
}

ssize_t
pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
	static ssize_t (*next)(int, const struct iovec *, int, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "pwritev");
	return is_refused(file, offset + length_of(parts, count)) ? -1
															  : next(file, parts, count, offset);
}

int
posix_fallocate(int file, off_t offset, off_t size)
{
	static int (*next)(int, off_t, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "posix_fallocate");
	return is_refused(file, offset + size) ? ENOSPC : next(file, offset, size);
}
