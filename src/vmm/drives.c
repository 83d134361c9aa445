/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's drives in the block graph: their images are nodes; a change of the graph gives them another one. See vmm.h. */
#include "disk.h"
#include "error.h"
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
	return !img || graph_find_image(vmm->graph, img) || graph_add(vmm->graph, NULL, img, error);
}

bool vmm_plug_drive(struct vmm *vmm, struct disk *disk, GError **error)
{
	unsigned i = vmm->n_disks;

	if (i == vmm->n_listed + VMM_PLUGGED_MAX) /* where that many have gone, more may come */
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "more than %d drives that are plugged in", VMM_PLUGGED_MAX);
	vmm->disks[i] = (struct machine_disk){ .disk = disk };
	if (!add_drive(vmm, &vmm->drives[i], disk, error)) {
		graph_remove_user(vmm->graph, &vmm->drives[i].user);
		return false;
	}
	vmm->n_disks++;
	return true;
}

/* From one place in the list to another, which is free. */
static void move_drive(struct vmm *vmm, unsigned from, unsigned to)
{
	graph_remove_user(vmm->graph, &vmm->drives[from].user);
	vmm->drives[to] = vmm->drives[from];
	vmm->disks[to] = vmm->disks[from];
	vmm->again[to] = vmm->again[from];
	vmm->given[to] = vmm->given[from];
	vmm->disks[from] = (struct machine_disk){ 0 };
	vmm->again[from] = vmm->given[from] = NULL;
	graph_add_user(vmm->graph, &vmm->drives[to].user);
}

bool vmm_unplug_drive(struct vmm *vmm, const char *id)
{
	unsigned i = 0;

	while (i < vmm->n_disks && g_strcmp0(disk_id(vmm->disks[i].disk), id))
		i++;
	if (i >= vmm->n_disks)
		return false;
	graph_remove_user(vmm->graph, &vmm->drives[i].user);
	disk_free(vmm->disks[i].disk);
	g_clear_pointer(&vmm->disks[i].options, g_variant_unref);
	g_clear_pointer(&vmm->again[i], g_variant_unref);
	g_clear_pointer(&vmm->given[i], g_variant_unref);
	vmm->disks[i] = (struct machine_disk){ 0 };
	for (vmm->n_disks--; i < vmm->n_disks; i++)
		move_drive(vmm, i + 1, i);
	graph_sweep(vmm->graph);
	return true;
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
	if (vmm->qmp_module)
		vmm->qmp_module->prepare(vmm);
	vmm->drives = g_new0(struct vmm_drive, vmm->n_disks + VMM_PLUGGED_MAX);
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
