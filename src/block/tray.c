/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tray of a drive whose medium can be changed: the device has it, who runs the VM moves it and hears of it. See disk.h. */
#include "block-internal.h"

bool disk_tray(const struct disk *d, struct disk_tray *ret)
{
	if (!d->client || !d->client->tray)
		return false;
	d->client->tray(d->client_opaque, ret);
	return true;
}

void disk_move_tray(struct disk *d, bool open)
{
	if (d->client && d->client->move_tray)
		d->client->move_tray(d->client_opaque, open);
}

void disk_ask_eject(struct disk *d, bool unlock)
{
	if (d->client && d->client->ask_eject)
		d->client->ask_eject(d->client_opaque, unlock);
}

void disk_set_tray_func(struct disk *d, disk_tray_func *func, void *opaque)
{
	d->moved = func;
	d->moved_opaque = opaque;
}

void disk_tray_moved(struct disk *d, bool open)
{
	if (d->moved)
		d->moved(d->moved_opaque, d, open);
}
