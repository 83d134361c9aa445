/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a copy begins: the destination, made here or there already, is added to the machine, which mirrors the disk to it. libvirt
 * has two calls for it, a disk's XML or the old rebase with a path; rebase without VIR_DOMAIN_BLOCK_REBASE_COPY is a pull. See
 * block-job.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block-job.h"
#include "image.h"

enum {
	REBASE_SHALLOW = 1,
	REBASE_REUSE_EXT = 2,
	REBASE_COPY_RAW = 4,
	REBASE_COPY = 8,
	REBASE_RELATIVE = 16,
	REBASE_COPY_DEV = 32,
	REBASE_BYTES = 64,
};
enum { COPY_SHALLOW = 1, COPY_REUSE_EXT = 2, COPY_SYNCHRONOUS_WRITES = 8 };
enum { GRANULARITY_MAX = 64 << 20, HEAD = 4096 };

struct copy {
	struct block_chain chain;
	char *target, *file, *format; /* format NULL: as the source is, or as the file looks */
	bool device, shallow, reuse, blocking;
	guint64 speed, granularity, buffer;
};

static void copy_clear(struct copy *c)
{
	block_chain_clear(&c->chain);
	g_free(c->target);
	g_free(c->file);
	g_free(c->format);
}

/* ---- the destination ---- */

static char *guess(const char *file)
{
	g_autofree guint8 *head = g_malloc0(HEAD);
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd >= 0 ? pread(fd, head, HEAD, 0) : 0;

	if (fd >= 0)
		close(fd);
	return g_strdup(image_format_guess(head, (gsize)MAX(n, 0)));
}

static bool check_file(const struct copy *c, GError **error)
{
	struct stat st;
	bool there = stat(c->file, &st) == 0;

	if (!g_path_is_absolute(c->file))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "absolute path must be used as block copy target");
	if (!there && (errno != ENOENT || c->reuse || c->device))
		return rpc_fail(error, VIR_ERR_SYSTEM_ERROR, "missing destination file for disk %s: %s: %s", c->target, c->file,
				g_strerror(errno));
	if (c->device && !S_ISBLK(st.st_mode))
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"blockdev flag requested for disk %s, but file '%s' is not a block device", c->target, c->file);
	return !there || c->reuse || S_ISBLK(st.st_mode) || !st.st_size ||
	       rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
			"external destination file for disk %s already exists and is not a block device: %s", c->target, c->file);
}

static GVariant *new_options(const struct copy *c)
{
	JsonObject *below = c->shallow ? block_chain_below(c->chain.image) : NULL;
	GVariantDict d;

	g_variant_dict_init(&d, NULL);
	g_variant_dict_insert(&d, "file", "s", c->file);
	g_variant_dict_insert(&d, "format", "s", c->format);
	g_variant_dict_insert(&d, "size", "t", (guint64)MAX(kv_number_in(c->chain.image, "virtual-size"), 0));
	if (below) {
		g_variant_dict_insert(&d, "backing", "s", kv_text_in(below, "filename"));
		g_variant_dict_insert(&d, "backing-format", "s", kv_text_in(below, "format"));
	}
	return g_variant_ref_sink(g_variant_dict_end(&d));
}

/* The lock is free while it is made. */
static bool make_file(const struct copy *c, GError **error)
{
	g_autoptr(GVariant) options = NULL;
	g_autoptr(GError) why = NULL;
	bool ok;

	if (c->reuse || (g_str_has_prefix(c->file, "/dev/") && !strcmp(c->format, "raw")))
		return true;
	options = new_options(c);
	state_release();
	ok = image_create(options, &why);
	state_acquire();
	return ok || rpc_fail(error, VIR_ERR_OPERATION_FAILED, "failed to create copy target: %s", why->message);
}

static bool add_node(struct kv_machine *m, const struct copy *c, const char *node, GError **error)
{
	JsonObject *args = kv_args("driver", c->format, "node-name", node, "discard", "unmap", NULL);
	bool device = g_str_has_prefix(c->file, "/dev/");

	json_object_set_object_member(args, "file",
				      kv_args("driver", device ? "host_device" : "file", "filename", c->file, NULL));
	if (!c->shallow && strcmp(c->format, "raw"))
		json_object_set_null_member(args, "backing");
	return kv_do(m, "blockdev-add", args, error);
}

/* ---- the beginning ---- */

static bool mirror(struct kv_machine *m, const struct copy *c, struct block_job *job, GError **error)
{
	xmlNode *disk = block_job_disk(m->d->live, c->target);
	g_autofree char *node = g_strdup(job->node);
	JsonObject *args;

	args = kv_args("device", command_id(disk), "target", node, "sync", c->shallow ? "top" : "full", "copy-mode",
		       c->blocking ? "write-blocking" : NULL, NULL);
	if (c->granularity)
		json_object_set_int_member(args, "granularity", (gint64)c->granularity);
	if (c->buffer)
		json_object_set_int_member(args, "buf-size", (gint64)c->buffer);
	block_job_set_mirror(disk, job, c->file, c->format);
	if (block_job_begin(m, job, "blockdev-mirror", args, c->speed, error))
		return true;
	disk = block_job_disk(m->d->live, c->target);
	if (disk)
		xml_set(disk, "mirror", NULL);
	if (!m->gone)
		kv_do(m, "blockdev-del", kv_args("node-name", node, NULL), NULL);
	return false;
}

static bool start(struct kv_machine *m, struct copy *c, GError **error)
{
	xmlNode *disk = block_job_disk(m->d->live, c->target);
	g_autofree char *node = g_strdup_printf("copy-%08x", g_random_int());
	struct block_job *job;

	if (xml_child(disk, "readonly"))
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "copy of read-only disks is not supported");
	if (!check_file(c, error) || !block_chain_read(m, disk, &c->chain, error))
		return false;
	if (!c->format)
		c->format = c->reuse ? guess(c->file) : g_strdup(kv_text_in(c->chain.image, "format"));
	c->shallow = c->shallow && block_chain_below(c->chain.image);
	if (!make_file(c, error) || !add_node(m, c, node, error))
		return false;
	if (!block_job_disk(m->d->live, c->target))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "disk '%s' not found in domain", c->target);
	job = block_job_add(m, BLOCK_JOB_COPY, c->target);
	job->node = g_strdup(node);
	return mirror(m, c, job, error);
}

/* ---- virDomainBlockCopy ---- */

static bool read_xml(struct copy *c, const char *xml, GError **error)
{
	g_autoptr(xmlDoc) doc = model_xml_parse(xml, -1, "disk", error);
	const xmlNode *disk = doc ? xmlDocGetRootElement(doc) : NULL;
	const char *type;

	if (!disk)
		return false;
	type = xml_text(disk, "@type") ?: "file";
	c->device = !strcmp(type, "block");
	if (strcmp(type, "file") && !c->device)
		return rpc_fail(error, VIR_ERR_CONFIG_UNSUPPORTED,
				"a copy to a disk of type '%s' is not supported; file and block are", type);
	c->file = g_strdup(xml_text(disk, c->device ? "source/@dev" : "source/@file"));
	c->format = g_strdup(xml_text(disk, "driver/@type"));
	return c->file || rpc_fail(error, VIR_ERR_INVALID_ARG, "missing source information for device %s", c->target);
}

static bool read_params(struct copy *c, GVariant *params, GError **error)
{
	const struct {
		const char *name, *type;
		guint64 *to;
	} rows[] = {{"bandwidth", "t", &c->speed}, {"granularity", "u", &c->granularity}, {"buf-size", "t", &c->buffer}};
	GVariantIter iter;
	const char *name;
	GVariant *value;
	bool ok = true;

	g_variant_iter_init(&iter, params);
	while (g_variant_iter_loop(&iter, "(&sv)", &name, &value)) {
		unsigned row = 0;

		while (row < G_N_ELEMENTS(rows) && strcmp(rows[row].name, name))
			row++;
		if (row == G_N_ELEMENTS(rows) || !g_variant_is_of_type(value, G_VARIANT_TYPE(rows[row].type)))
			ok = rpc_fail(ok ? error : NULL, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", name);
		else
			*rows[row].to = rows[row].type[0] == 't' ? g_variant_get_uint64(value) : g_variant_get_uint32(value);
	}
	if (ok && c->granularity && (c->granularity > GRANULARITY_MAX || c->granularity & (c->granularity - 1)))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "granularity must be power of 2");
	c->speed = MIN(c->speed, G_MAXINT64);
	c->buffer = MIN(c->buffer, G_MAXINT64);
	return ok;
}

bool block_copy_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	g_autoptr(GVariant) params = g_variant_get_child_value(args, 3);
	struct copy c = {.target = g_strdup(xml_text(disk, "target/@dev"))};
	g_autofree char *xml = NULL;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 2, "s", &xml);
	g_variant_get_child(args, 4, "u", &flags);
	c.shallow = flags & COPY_SHALLOW;
	c.reuse = flags & COPY_REUSE_EXT;
	c.blocking = flags & COPY_SYNCHRONOUS_WRITES;
	ok = read_params(&c, params, error) && read_xml(&c, xml, error) && start(m, &c, error);
	copy_clear(&c);
	return ok;
}

/* ---- virDomainBlockRebase ---- */

bool block_copy_rebase(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	struct copy c = {};
	guint64 bandwidth;
	guint32 flags;
	bool ok;

	g_variant_get_child(args, 4, "u", &flags);
	if (!(flags & REBASE_COPY)) {
		if (flags & ~(guint32)(REBASE_RELATIVE | REBASE_BYTES))
			return rpc_fail(error, VIR_ERR_INVALID_ARG, "unsupported flags (0x%x) in function qemuDomainBlockRebase",
					flags & ~(guint32)(REBASE_RELATIVE | REBASE_BYTES));
		return block_pull_start(m, disk, args, error);
	}
	if (flags & REBASE_RELATIVE)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "Relative backing during copy not supported yet");
	g_variant_get_child(args, 2, "ms", &c.file);
	g_variant_get_child(args, 3, "t", &bandwidth);
	c.target = g_strdup(xml_text(disk, "target/@dev"));
	c.format = flags & REBASE_COPY_RAW ? g_strdup("raw") : NULL;
	c.device = flags & REBASE_COPY_DEV;
	c.shallow = flags & REBASE_SHALLOW;
	c.reuse = flags & REBASE_REUSE_EXT;
	ok = (c.file || rpc_fail(error, VIR_ERR_INVALID_ARG, "a copy needs a path to go to")) &&
	     block_speed(bandwidth, flags & REBASE_BYTES, &c.speed, error) && start(m, &c, error);
	copy_clear(&c);
	return ok;
}
