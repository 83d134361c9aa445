/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's drives in the block graph: their images are nodes; a change of the graph gives them another one. See vmm.h. */
#include "disk.h"
#include "graph.h"
#include "machine.h"
#include "vmm.h"

static void set_image(struct block_user *u, struct image *img)
{
	disk_replace_image(((struct vmm_drive *)u)->disk, img);
}

static bool add_drive(struct vmm *vmm, struct vmm_drive *drive, struct disk *disk, GError **error)
{
	struct image *img = disk_image(disk);

	*drive = (struct vmm_drive){
		.user.id = disk_id(disk),
		.user.img = img,
		.user.set_image = set_image,
		.disk = disk,
	};
	graph_add_user(vmm->graph, &drive->user);
	return !img || graph_add(vmm->graph, NULL, img, error);
}

/* The old image's node goes with it where nobody else has it. */
bool vmm_set_medium(struct vmm *vmm, unsigned index, struct image *img, GError **error)
{
	struct vmm_drive *drive = &vmm->drives[index];
	struct image *old = drive->user.img;

	if (old && !graph_is_free(vmm->graph, old, error))
		return false;
	if (img && !graph_find_image(vmm->graph, img) && !graph_add(vmm->graph, NULL, img, error))
		return false;
	if (!disk_set_image(drive->disk, img ? image_ref(img) : NULL, error)) {
		image_close(img);
		return false;
	}
	drive->user.img = img;
	graph_sweep(vmm->graph);
	return true;
}

bool vmm_open_graph(struct vmm *vmm, GError **error)
{
	vmm->graph = graph_new();
	vmm_open_jobs(vmm);
	vmm->drives = g_new0(struct vmm_drive, vmm->n_disks);
	for (unsigned i = 0; i < vmm->n_disks; i++)
		if (!add_drive(vmm, &vmm->drives[i], vmm->disks[i].disk, error))
			return false;
	return true;
}

void vmm_close_graph(struct vmm *vmm)
{
	g_clear_pointer(&vmm->drives, g_free);
	g_clear_pointer(&vmm->graph, graph_free);
}
