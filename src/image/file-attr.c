/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a file system may be asked about a new file that is empty still. Wishes: where they cannot be had it is made anyway.
 * nocow is for btrfs, where it is the only way to quick writes; elsewhere there is nothing to turn off. Called by image.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/fs.h>

#include "file.h"
#include "log.h"

static void turn_off_cow(struct image_file *f)
{
	int flags = 0;

	if (ioctl(f->fd, FS_IOC_GETFLAGS, &flags) < 0)
		return;
	flags |= FS_NOCOW_FL;
	ioctl(f->fd, FS_IOC_SETFLAGS, &flags);
}

static void set_extent_size(struct image_file *f, uint64_t bytes)
{
	struct fsxattr attr;
	int res = bytes > UINT32_MAX ? -1 : ioctl(f->fd, FS_IOC_FSGETXATTR, &attr);

	errno = bytes > UINT32_MAX ? ERANGE : errno;
	if (res == 0) {
		attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
		attr.fsx_extsize = bytes;
		res = ioctl(f->fd, FS_IOC_FSSETXATTR, &attr);
	}
	if (res < 0)
		kv_log_warn("disk '%s': cannot set its extent size hint: %s", f->name, g_strerror(errno));
}

void image_file_set_attributes(struct image_file *f, GVariant *options)
{
	const char *text;

	if (f->fd < 0 || f->device)
		return;
	if (g_variant_lookup(options, "nocow", "&s", &text) && strcmp(text, "on") == 0)
		turn_off_cow(f);
	if (g_variant_lookup(options, "extent_size_hint", "&s", &text) && strcmp(text, "0") != 0)
		set_extent_size(f, g_ascii_strtoull(text, NULL, 10));
}
