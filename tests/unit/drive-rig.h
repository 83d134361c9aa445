/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk, or a CD-ROM drive, over an image in memory, at a controller that is there: for the tests of controllers. */
#pragma once

#include "device.h"
#include "disk-rig.h"
#include "disk.h"

static inline struct device *drive_open(struct machine_core *core, struct device *controller, const char *cls, bool cd,
					const char *keys, struct ram_image *m, struct disk **ret_disk)
{
	g_autoptr(GVariant) dict = keys ? g_variant_ref_sink(g_variant_new_parsed(keys)) : NULL;
	struct device_backend backend = {.controller = controller};
	struct device *drive;

	ram_init(m);
	m->img.discard = !cd;
	m->img.readonly = cd;
	backend.disk = *ret_disk = disk_new(cd ? "cd" : "disk", &m->img, dict, NULL);
	assert_non_null(*ret_disk);
	drive = device_new(core, cls, cd ? "cd" : "disk", dict, &backend, NULL);
	assert_non_null(drive);
	return drive;
}
