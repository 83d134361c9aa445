/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What runs, as files: the process, its folder, its state, and the definition that it runs. So that a daemon that is started
 * anew finds its machines: those that are there are connected to, the others have ended while nobody looked. See kv.h.
 */
#include <string.h>
#include <unistd.h>

#include "kv.h"
#include "log.h"
#include "uuid.h"
#include "workers.h"

enum { CONNECT_SECONDS = 10, CANCEL_SECONDS = 30, POLL_MS = 20 };

static char *format(const struct kv_machine *m, enum domain_state state, int reason)
{
	const struct domain *d = m->d;
	g_autofree char *def = domain_def_format(d->live, FORMAT_SECURE);
	g_autoptr(GString) jobs = g_string_new(NULL);
	g_autofree char *run = g_markup_escape_text(m->run, -1), *log = g_markup_escape_text(m->log, -1);

	kv_block_jobs_format(m, jobs);
	return g_strdup_printf("<domstatus id='%d' state='%d' reason='%d' pid='%d' started='%" G_GUINT64_FORMAT
			       "' run='%s' log='%s' persistent='%d' restarts='%d' agent='%d'>\n"
			       "%s%s</domstatus>\n",
			       d->id, state, reason, (int)m->pid, m->started, run, log, d->persistent, m->restarts,
			       d->agent_timeout, jobs->str, def);
}

void kv_store_status(struct domain *d)
{
	struct kv_hv *kv = d->hv->own;
	struct kv_machine *m = d->own;
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;

	if (!m || m->gone || !d->live || !domain_is_active(d)) {
		if (!store_remove(kv->status, d->name, &error))
			kv_log_warn("%s", error->message);
		if (!d->persistent)
			kv_forget_snapshots(d);
		return;
	}
	text = format(m, d->state, d->reason);
	if (!store_write(kv->status, d->name, d->uuid_text, text, &error))
		kv_log_warn("domain '%s' would not be found again: %s", d->name, error->message);
}

bool kv_store_starting(struct kv_machine *m, GError **error)
{
	struct kv_hv *kv = m->d->hv->own;
	g_autofree char *text = format(m, DOMAIN_PAUSED, PAUSED_STARTING_UP);

	return store_write(kv->status, m->d->name, m->d->uuid_text, text, error);
}

/* ---- saves and dumps that a daemon did not live to complete ---- */

static bool is_over(const char *status)
{
	static const char *const over[] = {"none", "completed", "failed", "cancelled", NULL};

	return !status || g_strv_contains(over, status);
}

/* (waits) Nobody takes what the machine still writes. */
static bool end_migration(struct kv_machine *m, GError **error)
{
	gint64 until = g_get_monotonic_time() + CANCEL_SECONDS * G_USEC_PER_SEC;

	if (!kv_do(m, "migrate_cancel", NULL, error))
		return false;
	for (;;) {
		g_autoptr(JsonNode) answer = kv_ask(m, "query-migrate", NULL, error);

		if (!answer || is_over(kv_text_in(kv_object(answer), "status")))
			return answer;
		if (g_get_monotonic_time() > until)
			return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "its save does not end");
		state_wait(&m->changed, g_get_monotonic_time() + POLL_MS * G_TIME_SPAN_MILLISECOND);
	}
}

/* It was cut short, and what is there itself has gone on. */
static void drop_managed(struct domain *d, const char *path)
{
	if (unlink(path) < 0 && access(path, F_OK) == 0)
		return;
	kv_log_warn("domain '%s': its managed save, which was cut short, is removed", d->name);
	d->has_managed_save = false;
}

/* (waits) A machine that stood still for it goes on, as under libvirt; one that is saved already is not there any more. */
static void settle_save(struct kv_machine *m)
{
	struct domain *d = m->d;
	bool stands = d->state == DOMAIN_PAUSED && (d->reason == PAUSED_SAVE || d->reason == PAUSED_DUMP);
	g_autofree char *managed = domain_managed_path(d);
	bool part = d->has_managed_save && kv_saved_is_part(managed);
	g_autoptr(GError) error = NULL;

	if (d->has_managed_save && stands && d->reason == PAUSED_SAVE && !part) {
		kv_end_saved(m);
		return;
	}
	if (part)
		drop_managed(d, managed);
	if (!stands)
		return;
	if (!end_migration(m, &error) || !kv_do(m, "cont", NULL, &error))
		kv_log_warn("domain '%s' stays paused: %s", d->name, error->message);
	else if (!m->gone && d->state == DOMAIN_RUNNING)
		domain_set_state(d, DOMAIN_RUNNING, RUNNING_SAVE_CANCELED, -1, 0);
}

/* ---- found again ---- */

static bool take_status(struct kv_machine *m, GError **error)
{
	struct domain *d = m->d;
	g_autoptr(JsonNode) answer = kv_ask(m, "query-status", NULL, error);
	const char *status = kv_text_in(kv_object(answer), "status");

	if (!answer)
		return false;
	if (status && !strcmp(status, "running")) {
		if (d->state != DOMAIN_RUNNING)
			domain_set_state(d, DOMAIN_RUNNING, RUNNING_UNKNOWN, -1, 0);
	} else if (status && !strcmp(status, "suspended")) {
		domain_set_state(d, DOMAIN_PMSUSPENDED, 0, -1, 0);
	} else if (d->reason == PAUSED_STARTING_UP && d->state == DOMAIN_PAUSED) {
		kv_kill(m, false);
		return kv_fail(error, KV_ERROR_SYSTEM, "its start was not finished");
	} else if (d->state != DOMAIN_PAUSED) {
		domain_set_state(d, DOMAIN_PAUSED, status && !strcmp(status, "io-error") ? PAUSED_IOERROR : PAUSED_UNKNOWN, -1,
				 0);
	}
	settle_save(m);
	if (m->gone)
		return true;
	kv_block_jobs_reconnect(m);
	return kv_learn(m, error);
}

static void lost(struct kv_machine *m)
{
	struct domain *d = m->d;

	if (m->gone)
		return;
	m->gone = true;
	d->own = NULL;
	domain_stopped(d, m->destroyed ? SHUTOFF_DESTROYED : SHUTOFF_DAEMON, m->destroyed ? STOPPED_DESTROYED : STOPPED_FAILED);
	kv_process_clean_up(m);
	kv_machine_unref(m);
}

/* (waits) With the domain's job. */
static bool connect_again(struct kv_machine *m, GError **error)
{
	bool ok = kv_process_is_alive(m) &&
		  kv_process_connect(m, g_get_monotonic_time() + CONNECT_SECONDS * G_USEC_PER_SEC, 0, error);

	m->starting = false;
	if (ok)
		kv_tune_found(m);
	return ok;
}

bool kv_regain(struct kv_machine *m)
{
	struct domain *d = domain_ref(m->d);
	g_autoptr(GError) error = NULL;
	bool ok = false;

	if (domain_job_begin(d, JOB_MODIFY, NULL)) {
		if (!m->ending && !m->gone) {
			m->starting = true; /* who closes it before it greets is not told of to anybody else */
			ok = connect_again(m, &error);
			if (ok && take_status(m, &error))
				kv_log_warn("domain '%s': its monitor was lost, and is there again", d->name);
			else if (error && kv_process_is_alive(m))
				kv_log_warn("domain '%s': its monitor was lost: %s", d->name, error->message);
		}
		domain_job_end(d, JOB_MODIFY);
	}
	domain_unref(d);
	return ok;
}

/*
 * A machine that writes a memory-only dump says nothing meanwhile, however long: it is waited for as long as it lives. Whoever
 * does not want that destroys it (kv_unblock()).
 */
static void reconnect(void *opaque)
{
	struct domain *d = opaque;
	struct kv_machine *m = NULL;
	g_autoptr(GError) error = NULL;
	bool ok = false;

	if (!domain_job_begin(d, JOB_MODIFY, NULL)) {
		domain_unref(d);
		return;
	}
	if (d->own) {
		m = kv_machine_ref(d->own);
		ok = connect_again(m, &error) && take_status(m, &error);
		if (!ok && !m->gone && kv_process_is_alive(m))
			kv_log_error("domain '%s' is left to itself: process %d: %s", d->name, (int)m->pid, error->message);
		if (!ok)
			lost(m);
		kv_machine_unref(m);
	}
	domain_job_end(d, JOB_MODIFY);
	domain_unref(d);
}

static struct domain *domain_of(struct hv *hv, struct domain_def *def, bool persistent, GError **error)
{
	struct domain *d = g_hash_table_lookup(hv->domains, domain_def_uuid(def));

	if (d && !strcmp(d->name, domain_def_name(def))) {
		d->live = def;
		return domain_ref(d);
	}
	d = domain_define(hv, def, true, error); /* its stored definition is gone, or it never had one */
	if (d)
		d->live = domain_def_copy(def);
	return d;
}

static void fill(struct kv_machine *m, const xmlNode *node)
{
	guint64 pid = 0, state = 0, reason = 0;
	gint64 timeout;

	xml_number(node, "@pid", &pid);
	xml_number(node, "@started", &m->started);
	xml_number(node, "@state", &state);
	xml_number(node, "@reason", &reason);
	m->pid = (pid_t)MIN(pid, G_MAXINT32);
	m->run = g_strdup(xml_text(node, "@run") ?: "");
	g_free(m->log);
	m->log = g_strdup(xml_text(node, "@log") ?: "");
	m->restarts = xml_is(node, "@restarts", "1");
	if (g_ascii_string_to_signed(xml_text(node, "@agent") ?: "", 10, AGENT_BLOCK, G_MAXINT32, &timeout, NULL))
		m->d->agent_timeout = (int)timeout;
	m->d->state = state <= DOMAIN_PMSUSPENDED ? (enum domain_state)state : DOMAIN_NOSTATE;
	m->d->reason = (int)MIN(reason, G_MAXINT8);
}

static bool load_one(struct hv *hv, const char *name, GError **error)
{
	struct kv_hv *kv = hv->own;
	g_autofree char *text = store_read(kv->status, name, error), *xml = NULL;
	g_autoptr(xmlDoc) doc = text ? model_xml_parse(text, -1, "domstatus", error) : NULL;
	const xmlNode *node = doc ? xmlDocGetRootElement(doc) : NULL;
	g_autoptr(DomainDef) def = NULL;
	struct domain *d;
	guint64 id = 0;

	if (!node)
		return false;
	if (!xml_child(node, "domain") || !xml_number(node, "@id", &id) || id > G_MAXINT32)
		return kv_fail(error, KV_ERROR_INVALID, "no <domain> or id in it");
	xml = model_xml_format(xml_child(node, "domain"));
	def = domain_def_parse(xml, -1, DEF_LIVE, error);
	d = def ? domain_of(hv, def, xml_is(node, "@persistent", "1"), error) : NULL;
	if (!d)
		return false;
	def = NULL;
	d->id = (int)id;
	hv->last_id = MAX(hv->last_id, d->id);
	d->own = kv_machine_new(d);
	((struct kv_machine *)d->own)->starting = true;
	fill(d->own, node);
	kv_block_jobs_load(d->own, node);
	workers_run(reconnect, d);
	return true;
}

static void collect(void *opaque, const struct store_entry *entry)
{
	g_ptr_array_add(opaque, g_strdup(entry->name));
}

void kv_load_status(struct hv *hv)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	struct kv_hv *kv = hv->own;

	store_each(kv->status, collect, names);
	for (unsigned i = 0; i < names->len; i++) {
		g_autoptr(GError) error = NULL;

		if (!load_one(hv, names->pdata[i], &error))
			kv_log_error("the status of domain '%s': %s", (char *)names->pdata[i], error->message);
	}
}
