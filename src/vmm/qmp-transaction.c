/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transaction: several changes of disks as one (QEMU's qapi/transaction.json). All are prepared, then all take place while the
 * guest's requests wait, or none does. Commands that are an action as well run through here, too. See qmp-block.h.
 */
#include <string.h>

#include "graph.h"
#include "job.h"
#include "qmp-block.h"
#include "vmm.h"

enum { ACTIONS_MAX = 256 };

static const struct qmp_action *const actions[] = {
	&qmp_action_backup,
	&qmp_action_bitmap_add,
	&qmp_action_bitmap_clear,
	&qmp_action_bitmap_disable,
	&qmp_action_bitmap_enable,
	&qmp_action_bitmap_merge,
	&qmp_action_bitmap_remove,
	&qmp_action_snapshot,
	&qmp_action_snapshot_internal,
	&qmp_action_snapshot_sync,
	NULL,
};

struct step {
	const struct qmp_action *action;
	void *state;
};

static const char *const modes[] = { "individual", "grouped", NULL };
static const struct qmp_type mode = { .kind = QMP_ENUM, .values = modes };
static const struct qmp_member properties_members[] = { { "completion-mode", &mode, .optional = true }, {} };
static const struct qmp_type properties = { .kind = QMP_OBJECT, .members = properties_members };
static const struct qmp_member action_members[] = { { "type", &qmp_string }, { "data", &qmp_any }, {} };
static const struct qmp_type action_type = { .kind = QMP_OBJECT, .members = action_members };
static const struct qmp_type action_list = { .kind = QMP_LIST, .item = &action_type };
const struct qmp_member qmp_transaction_args[] = {
	{ "actions", &action_list },
	{ "properties", &properties, .optional = true },
	{},
};

static bool prepare(void *opaque, struct step *s, JsonObject *data, GError **error)
{
	if (!qmp_check_members(s->action->data, data, error))
		return false;
	return !s->action->prepare || s->action->prepare(opaque, data, &s->state, error);
}

/* All of them, or none. */
static bool run_steps(void *opaque, struct step *steps, JsonObject **data, unsigned n, GError **error)
{
	unsigned prepared = 0, done = 0;
	bool ok = true;

	while (ok && prepared < n) {
		ok = prepare(opaque, &steps[prepared], data[prepared], error);
		prepared += ok || steps[prepared].state;
	}
	while (ok && done < n) {
		const struct qmp_action *a = steps[done].action;

		ok = !a->commit || a->commit(opaque, steps[done].state, error);
		done++;
	}
	for (unsigned i = prepared; !ok && i-- > 0;)
		if (steps[i].action->abort)
			steps[i].action->abort(opaque, steps[i].state);
	for (unsigned i = 0; i < n; i++)
		if (steps[i].action->clean && steps[i].state)
			steps[i].action->clean(opaque, steps[i].state);
	return ok;
}

JsonNode *qmp_run_action(const struct qmp_action *action, void *opaque, JsonObject *args, GError **error)
{
	struct step step = { .action = action };

	return run_steps(opaque, &step, &args, 1, error) ? qmp_nothing() : NULL;
}

static const struct qmp_action *find_action(const char *type, GError **error)
{
	for (const struct qmp_action *const *a = actions; *a; a++)
		if (strcmp((*a)->type, type) == 0)
			return *a;
	qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'type' does not accept value '%s'", type);
	return NULL;
}

/* What is in use now: no guest writes between the first action and the last. */
static GPtrArray *drain_disks(struct vmm *vmm)
{
	GPtrArray *images = g_ptr_array_new_with_free_func((GDestroyNotify)image_close);

	for (struct block_user *u = graph_users(vmm->graph); u; u = u->next)
		if (u->img) {
			image_drain_begin(u->img);
			g_ptr_array_add(images, image_ref(u->img));
		}
	return images;
}

static void let_go(GPtrArray *images)
{
	for (guint i = 0; i < images->len; i++)
		image_drain_end(images->pdata[i]);
	g_ptr_array_free(images, TRUE);
}

static bool is_grouped(JsonObject *args)
{
	JsonObject *p = json_object_has_member(args, "properties") ? json_object_get_object_member(args, "properties") : NULL;

	return p && g_strcmp0(json_object_get_string_member_with_default(p, "completion-mode", NULL), "grouped") == 0;
}

/* The actions' rows and arguments. */
static bool read_actions(JsonArray *list, struct step *steps, JsonObject **data, GError **error)
{
	for (guint i = 0; i < json_array_get_length(list); i++) {
		JsonObject *o = json_array_get_object_element(list, i);
		JsonNode *value = json_object_get_member(o, "data");

		steps[i].action = find_action(json_object_get_string_member(o, "type"), error);
		if (!steps[i].action)
			return false;
		if (!JSON_NODE_HOLDS_OBJECT(value)) {
			qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter type for 'data', expected: object");
			return false;
		}
		data[i] = json_node_get_object(value);
	}
	return true;
}

JsonNode *qmp_transaction(void *opaque, JsonObject *args, GError **error)
{
	JsonArray *list = json_object_get_array_member(args, "actions");
	struct step steps[ACTIONS_MAX] = {};
	JsonObject *data[ACTIONS_MAX];
	guint n = json_array_get_length(list);
	struct vmm *vmm = opaque;
	GPtrArray *images;
	bool ok;

	if (n > ACTIONS_MAX)
		return qmp_fail(error, QMP_ERROR_GENERIC, "a transaction has %d actions at most", ACTIONS_MAX);
	if (!read_actions(list, steps, data, error))
		return NULL;
	vmm->job_group = is_grouped(args) ? job_group_new() : NULL;
	images = drain_disks(vmm);
	ok = run_steps(opaque, steps, data, n, error);
	let_go(images);
	g_clear_pointer(&vmm->job_group, job_group_unref);
	return ok ? qmp_nothing() : NULL;
}
