/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a pull and a commit begin: which images they are about. See block-job.h. */
#include <string.h>

#include "block-job.h"

enum { PULL_BYTES = 1 << 6, REBASE_RELATIVE = 1 << 4 };
enum { COMMIT_SHALLOW = 1, COMMIT_DELETE = 2, COMMIT_ACTIVE = 4, COMMIT_RELATIVE = 8, COMMIT_BYTES = 16 };

/* ---- pull ---- */

static bool pull(struct kv_machine *m, xmlNode *disk, const char *base, guint64 bandwidth, guint32 flags, GError **error)
{
	g_autofree char *target = g_strdup(xml_text(disk, "target/@dev")), *name = NULL;
	struct block_chain chain = {};
	JsonObject *args, *below = NULL;
	guint64 speed;
	bool ok;

	if (flags & REBASE_RELATIVE && !base)
		return rpc_fail(error, VIR_ERR_INVALID_ARG,
				"flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base");
	if (!block_speed(bandwidth, flags & PULL_BYTES, &speed, error) || !block_chain_read(m, disk, &chain, error))
		return false;
	disk = block_job_disk(m->d->live, target);
	ok = disk && (!base || (below = block_chain_find(&chain, disk, chain.image, true, base, error))) &&
	     (!(flags & REBASE_RELATIVE) || (name = block_chain_relative(chain.image, below, error)));
	if (ok) {
		args = kv_args("device", command_id(disk), "base", below ? kv_text_in(below, "filename") : NULL, "backing-file",
			       name, NULL);
		ok = block_job_begin(m, block_job_add(m, BLOCK_JOB_PULL, target), "block-stream", args, speed, error);
	}
	block_chain_clear(&chain);
	return ok;
}

bool block_pull_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	g_autofree char *base = NULL;
	guint64 bandwidth;
	guint32 flags;
	bool rebase = g_variant_n_children(args) > 4;

	if (rebase)
		g_variant_get_child(args, 2, "ms", &base);
	g_variant_get_child(args, rebase ? 3 : 2, "t", &bandwidth);
	g_variant_get_child(args, rebase ? 4 : 3, "u", &flags);
	return pull(m, disk, base, bandwidth, flags, error);
}

/* ---- commit ---- */

struct commit {
	struct block_chain chain;
	JsonObject *overlay, *top, *base; /* overlay: what stands on top; NULL: nothing */
	guint32 flags;
};

static bool find_top(struct commit *c, const xmlNode *disk, const char *top, GError **error)
{
	const char *target = xml_text(disk, "target/@dev");

	c->top = top ? block_chain_find(&c->chain, disk, c->chain.image, false, top, error) : c->chain.image;
	if (!c->top)
		return false;
	for (JsonObject *o = c->chain.image; o && o != c->top; o = block_chain_below(o))
		c->overlay = o;
	if (!c->overlay && !(c->flags & COMMIT_ACTIVE))
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "commit of '%s' active layer requires active flag", target);
	if (c->overlay && c->flags & COMMIT_ACTIVE)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "active commit requested but '%s' is not active", top);
	return block_chain_below(c->top) || rpc_fail(error, VIR_ERR_INVALID_ARG, "top '%s' in chain for '%s' has no backing file",
						     kv_text_in(c->top, "filename"), target);
}

static bool find_base(struct commit *c, const xmlNode *disk, const char *base, GError **error)
{
	JsonObject *next = block_chain_below(c->top);

	c->base = base ? block_chain_find(&c->chain, disk, c->top, true, base, error) : next;
	while (!base && !(c->flags & COMMIT_SHALLOW) && block_chain_below(c->base))
		c->base = block_chain_below(c->base);
	if (c->base && c->flags & COMMIT_SHALLOW && c->base != next)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "base '%s' is not immediately below '%s' in chain for '%s'", base,
				kv_text_in(c->top, "filename"), xml_text(disk, "target/@dev"));
	return c->base;
}

static GPtrArray *between(const struct commit *c)
{
	GPtrArray *files = g_ptr_array_new_with_free_func(g_free);

	for (JsonObject *o = c->top; o && o != c->base; o = block_chain_below(o))
		g_ptr_array_add(files, g_strdup(kv_text_in(o, "filename")));
	return files;
}

static bool begin_commit(struct kv_machine *m, xmlNode *disk, const struct commit *c, guint64 speed, GError **error)
{
	g_autofree char *name = NULL, *target = g_strdup(xml_text(disk, "target/@dev"));
	struct block_job *job;
	JsonObject *args;
	bool ok;

	if (c->overlay && c->flags & COMMIT_RELATIVE && !(name = block_chain_relative(c->overlay, c->base, error)))
		return false;
	job = block_job_add(m, c->overlay ? BLOCK_JOB_COMMIT : BLOCK_JOB_ACTIVE_COMMIT, target);
	if (c->flags & COMMIT_DELETE)
		job->files = between(c);
	if (!c->overlay)
		block_job_set_mirror(disk, job, kv_text_in(c->base, "filename"), kv_text_in(c->base, "format"));
	args = kv_args("device", command_id(disk), "top", c->overlay ? kv_text_in(c->top, "filename") : NULL, "base",
		       kv_text_in(c->base, "filename"), "backing-file", name, NULL);
	ok = block_job_begin(m, job, "block-commit", args, speed, error);
	disk = ok ? NULL : block_job_disk(m->d->live, target);
	if (disk)
		xml_set(disk, "mirror", NULL);
	return ok;
}

bool block_commit_start(struct kv_machine *m, xmlNode *disk, GVariant *args, GError **error)
{
	g_autofree char *base = NULL, *top = NULL, *target = g_strdup(xml_text(disk, "target/@dev"));
	struct commit c = {};
	guint64 speed;
	bool ok;

	g_variant_get_child(args, 2, "ms", &base);
	g_variant_get_child(args, 3, "ms", &top);
	g_variant_get_child(args, 4, "t", &speed);
	g_variant_get_child(args, 5, "u", &c.flags);
	if (!block_speed(speed, c.flags & COMMIT_BYTES, &speed, error) || !block_chain_read(m, disk, &c.chain, error))
		return false;
	disk = block_job_disk(m->d->live, target);
	ok = disk && find_top(&c, disk, top, error) && find_base(&c, disk, base, error) &&
	     begin_commit(m, disk, &c, speed, error);
	block_chain_clear(&c.chain);
	return ok;
}
