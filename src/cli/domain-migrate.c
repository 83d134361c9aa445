/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate and its companions. A peer-to-peer migration is one call: the source's server talks to the other. Otherwise this
 * program stands between the two, in the five steps of the protocol's version 3 with parameters, which servers have since
 * libvirt 1.1.0: Begin at the source, Prepare at the destination, Perform at the source, Finish at the destination, Confirm at
 * the source; each step hands a cookie to the next.
 */
#include <string.h>

#include "args.h"
#include "domain.h"
#include "job.h"
#include "objects.h"
#include "rpc/message.h"

/* VIR_MIGRATE_… */
enum {
	MIGRATE_LIVE = 1 << 0,
	MIGRATE_PEER2PEER = 1 << 1,
	MIGRATE_TUNNELLED = 1 << 2,
	MIGRATE_STORAGE_ALL = 1 << 6,
	MIGRATE_STORAGE_INC = 1 << 7,
	MIGRATE_CHANGE_PROTECTION = 1 << 8,
	MIGRATE_OFFLINE = 1 << 10,
	MIGRATE_ABORT_ON_ERROR = 1 << 12,
	MIGRATE_AUTO_CONVERGE = 1 << 13,
	MIGRATE_POSTCOPY = 1 << 15,
};
enum { FEATURE_P2P = 4, FEATURE_DIRECT = 5, FEATURE_PROTECTION = 7, FEATURE_OFFLINE = 12, FEATURE_PARAMS = 13 };

static const struct flag migrate_flags[] = { { "live", 1 << 0 },
					     { "p2p", 1 << 1 },
					     { "tunnelled", 1 << 2 },
					     { "persistent", 1 << 3 },
					     { "undefinesource", 1 << 4 },
					     { "suspend", 1 << 5 },
					     { "copy-storage-all", 1 << 6 },
					     { "copy-storage-inc", 1 << 7 },
					     { "change-protection", 1 << 8 },
					     { "unsafe", 1 << 9 },
					     { "offline", 1 << 10 },
					     { "compressed", 1 << 11 },
					     { "abort-on-error", 1 << 12 },
					     { "auto-converge", 1 << 13 },
					     { "rdma-pin-all", 1 << 14 },
					     { "postcopy", 1 << 15 },
					     { "tls", 1 << 16 },
					     { "parallel", 1 << 17 },
					     { "copy-storage-synchronous-writes", 1 << 18 },
					     { "postcopy-resume", 1 << 19 },
					     { "zerocopy", 1 << 20 },
					     {} };

/* How an option becomes a parameter. */
enum kind { TEXT, LIST, FILE_TEXT, INT, WIDE };
static const struct {
	const char *option, *param;
	enum kind kind;
} params_table[] = {
	{ "migrateuri", "migrate_uri", TEXT },
	{ "graphicsuri", "graphics_uri", TEXT },
	{ "listen-address", "listen_address", TEXT },
	{ "dname", "destination_name", TEXT },
	{ "disks-port", "disks_port", INT },
	{ "disks-uri", "disks_uri", TEXT },
	{ "migrate-disks", "migrate_disks", LIST },
	{ "xml", "destination_xml", FILE_TEXT },
	{ "persistent-xml", "persistent_xml", FILE_TEXT },
	{ "comp-methods", "compression", LIST },
	{ "comp-mt-level", "compression.mt.level", INT },
	{ "comp-mt-threads", "compression.mt.threads", INT },
	{ "comp-mt-dthreads", "compression.mt.dthreads", INT },
	{ "comp-xbzrle-cache", "compression.xbzrle.cache", WIDE },
	{ "auto-converge-initial", "auto_converge.initial", INT },
	{ "auto-converge-increment", "auto_converge.increment", INT },
	{ "bandwidth", "bandwidth", WIDE },
	{ "postcopy-bandwidth", "bandwidth.postcopy", WIDE },
	{ "parallel-connections", "parallel.connections", INT },
	{ "tls-destination", "tls.destination", TEXT },
};

static bool add_param(struct shell *sh, const struct args *a, unsigned which, GVariantBuilder *out)
{
	const char *option = params_table[which].option, *param = params_table[which].param, *text = arg_text(a, option);
	g_auto(GStrv) parts = NULL;
	g_autofree char *read = NULL;
	guint64 wide;
	int number;

	if (!text)
		return true;
	switch (params_table[which].kind) {
	case TEXT:
		g_variant_builder_add(out, "(sv)", param, g_variant_new_string(text));
		return true;
	case LIST:
		parts = g_strsplit(text, ",", -1);
		for (char **p = parts; *p; p++)
			g_variant_builder_add(out, "(sv)", param, g_variant_new_string(*p));
		return true;
	case FILE_TEXT:
		read = read_file(sh, text);
		if (!read)
			return shell_error(sh, "cannot read file '%s'", text);
		g_variant_builder_add(out, "(sv)", param, g_variant_new_string(read));
		return true;
	case INT:
		if (arg_int(sh, a, option, &number) < 0)
			return false;
		g_variant_builder_add(out, "(sv)", param, g_variant_new_int32(number));
		return true;
	default:
		if (arg_u64(sh, a, option, &wide) < 0)
			return false;
		g_variant_builder_add(out, "(sv)", param, g_variant_new_uint64(wide));
		return true;
	}
}

/* a(sv); NULL: said. */
static GVariant *take_params(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) all = NULL;
	GVariantBuilder out;
	bool ok = true;

	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (unsigned i = 0; i < G_N_ELEMENTS(params_table) && ok; i++)
		ok = add_param(sh, a, i, &out);
	all = g_variant_ref_sink(g_variant_builder_end(&out));
	return ok ? g_steal_pointer(&all) : NULL;
}

/* params with one more, in the place of what there is of that name. */
static GVariant *with_text(GVariant *params, const char *name, const char *value)
{
	GVariantBuilder out;

	g_variant_builder_init(&out, G_VARIANT_TYPE("a(sv)"));
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) each = g_variant_get_child_value(params, i);

		if (strcmp(object_name(each), name) != 0)
			g_variant_builder_add_value(&out, each);
	}
	g_variant_builder_add(&out, "(sv)", name, g_variant_new_string(value));
	return g_variant_ref_sink(g_variant_builder_end(&out));
}

static bool has_param(GVariant *params, const char *name)
{
	for (gsize i = 0; i < g_variant_n_children(params); i++) {
		g_autoptr(GVariant) each = g_variant_get_child_value(params, i);

		if (strcmp(object_name(each), name) == 0)
			return true;
	}
	return false;
}

/* ---- the two ends ---- */

static bool supports(KvConnection *conn, int feature)
{
	g_autoptr(GVariant) answer =
		kv_connection_call_sync(conn, "connect_supports_feature", g_variant_new("(i)", feature), NULL, NULL);
	gint32 yes = 0;

	if (answer)
		g_variant_get(answer, "(i)", &yes);
	return yes > 0;
}

static GVariant *no_bytes(void)
{
	return g_variant_new_array(G_VARIANT_TYPE_BYTE, NULL, 0);
}

struct migration {
	struct shell *sh;
	GVariant *dom;
	KvConnection *to;
	GVariant *params; /* grows */
	unsigned flags, source_flags, dest_flags;
	const struct job_watch *watch;
	GVariant *cookie; /* of the last step */
	GError *error;	  /* the first */
};

static void add_text(struct migration *m, const char *name, const char *value)
{
	g_autoptr(GVariant) old = m->params;

	m->params = with_text(old, name, value);
}

static void keep_cookie(struct migration *m, GVariant *answer, unsigned at)
{
	g_clear_pointer(&m->cookie, g_variant_unref);
	m->cookie = g_variant_get_child_value(answer, at);
}

/* The cookie of the last step, or an empty one. */
static GVariant *cookie(struct migration *m)
{
	return m->cookie ? m->cookie : no_bytes();
}

static void keep_error(struct migration *m, GError **error)
{
	if (!m->error)
		m->error = g_steal_pointer(error);
	g_clear_error(error);
}

static bool begin(struct migration *m)
{
	g_autoptr(GVariant) answer =
		ask(m->sh, "domain_migrate_begin3_params", "(@" DOMAIN "@a(sv)u)", m->dom, m->params, m->source_flags);
	const char *xml;

	if (!answer) {
		keep_error(m, &m->sh->error);
		return false;
	}
	keep_cookie(m, answer, 0);
	g_variant_get_child(answer, 1, "&s", &xml);
	add_text(m, "destination_xml", xml);
	return true;
}

static bool prepare(struct migration *m)
{
	GError *error = NULL;
	g_autoptr(GVariant) answer =
		kv_connection_call_sync(m->to, "domain_migrate_prepare3_params",
					g_variant_new("(@a(sv)@ayu)", m->params, cookie(m), m->dest_flags), NULL, &error);
	const char *uri;

	if (!answer) {
		keep_error(m, &error);
		return false;
	}
	keep_cookie(m, answer, 0);
	g_variant_get_child(answer, 1, "m&s", &uri);
	if (uri) {
		add_text(m, "migrate_uri", uri);
	} else if (!(m->flags & MIGRATE_OFFLINE) && !has_param(m->params, "migrate_uri")) {
		rpc_fail(&m->error, VIR_ERR_INTERNAL_ERROR, "domainMigratePrepare3 did not set uri");
		return false;
	}
	return true;
}

static bool perform(struct migration *m)
{
	g_autoptr(GVariant) answer = NULL;

	if (m->flags & MIGRATE_OFFLINE)
		return true;
	answer = job_call(m->sh, m->watch, "domain_migrate_perform3_params",
			  g_variant_new("(@" DOMAIN "ms@a(sv)@ayu)", m->dom, NULL, m->params, cookie(m), m->source_flags));
	/* Even of a failure the other end wants to know. */
	if (answer)
		keep_cookie(m, answer, 0);
	else
		keep_error(m, &m->sh->error);
	return answer;
}

static bool finish_there(struct migration *m, bool cancelled)
{
	GError *error = NULL;
	g_autoptr(GVariant) answer = kv_connection_call_sync(
		m->to, "domain_migrate_finish3_params",
		g_variant_new("(@a(sv)@ayui)", m->params, cookie(m), m->dest_flags, cancelled ? 1 : 0), NULL, &error);

	if (answer)
		keep_cookie(m, answer, 1);
	else
		keep_error(m, &error);
	return answer;
}

static void confirm(struct migration *m, bool cancelled)
{
	if (!tell(m->sh, "domain_migrate_confirm3_params", "(@" DOMAIN "@a(sv)@ayui)", m->dom, m->params, cookie(m),
		  m->source_flags, cancelled ? 1 : 0))
		keep_error(m, &m->sh->error);
}

static bool run_steps(struct migration *m)
{
	bool begun = begin(m), prepared = begun && prepare(m), performed = prepared && perform(m), arrived = false;

	if (prepared)
		arrived = finish_there(m, !performed) && performed;
	if (begun)
		confirm(m, !arrived);
	return arrived;
}

/* What libvirt's client library says to flags, when it has reached both. */
static bool check_storage(struct shell *sh, unsigned flags)
{
	return !(flags & MIGRATE_STORAGE_ALL && flags & MIGRATE_STORAGE_INC) ||
	       shell_error(sh,
			   "Flags 'VIR_MIGRATE_NON_SHARED_DISK' and 'VIR_MIGRATE_NON_SHARED_INC' are mutually exclusive");
}

static bool managed(struct shell *sh, GVariant *dom, const char *to_uri, GVariant *params, unsigned flags,
		    const struct job_watch *watch)
{
	g_autoptr(KvConnection) to = kv_connection_open_sync(to_uri, KV_CONNECTION_NONE, NULL, &sh->error);
	bool protects = supports(sh->conn, FEATURE_PROTECTION), ok;
	struct migration m = { sh, dom, to, NULL, flags, .watch = watch };

	if (!to || !check_storage(sh, flags))
		return false;
	if (flags & MIGRATE_TUNNELLED)
		return shell_error(sh, "cannot perform tunnelled migration without using peer2peer flag");
	if (!supports(sh->conn, FEATURE_PARAMS) || !supports(to, FEATURE_PARAMS))
		return rpc_fail(&sh->error, VIR_ERR_NO_SUPPORT, "virDomainMigrate3");
	if ((flags & MIGRATE_OFFLINE) && (!supports(sh->conn, FEATURE_OFFLINE) || !supports(to, FEATURE_OFFLINE)))
		return rpc_fail(&sh->error, VIR_ERR_NO_SUPPORT, "offline migration is not supported by one of the two servers");
	m.source_flags = flags | (protects ? MIGRATE_CHANGE_PROTECTION : 0);
	m.dest_flags = flags & ~(MIGRATE_ABORT_ON_ERROR | MIGRATE_AUTO_CONVERGE);
	m.params = has_param(params, "destination_name") ? g_variant_ref(params)
							 : with_text(params, "destination_name", domain_name(dom));
	ok = run_steps(&m);
	g_variant_unref(m.params);
	g_clear_pointer(&m.cookie, g_variant_unref);
	forget_error(sh);
	sh->error = m.error;
	return ok;
}

/* Another daemon of this host is reached by its socket alone. */
static bool is_elsewhere(const char *uri)
{
	g_autoptr(GUri) parts = g_uri_parse(uri, G_URI_FLAGS_NONE, NULL);
	const char *host = parts ? g_uri_get_host(parts) : NULL;

	return (host && *host && !g_str_has_prefix(host, "localhost")) || (parts && strstr(g_uri_get_scheme(parts), "+unix"));
}

/* By the source's server alone. */
static bool unmanaged(struct shell *sh, GVariant *dom, const char *to_uri, GVariant *params, unsigned flags,
		      const struct job_watch *watch)
{
	bool p2p = flags & MIGRATE_PEER2PEER;
	g_autoptr(GVariant) answer = NULL, all = NULL;

	if (!check_storage(sh, flags))
		return false;
	if (!supports(sh->conn, p2p ? FEATURE_P2P : FEATURE_DIRECT))
		return rpc_fail(&sh->error, VIR_ERR_ARGUMENT_UNSUPPORTED, "%s migration is not supported by the source host",
				p2p ? "p2p" : "direct");
	if (p2p && !is_elsewhere(to_uri))
		return shell_error(sh, "Attempt to migrate guest to the same host");
	if (!supports(sh->conn, FEATURE_PARAMS))
		return rpc_fail(&sh->error, VIR_ERR_NO_SUPPORT, "migration with parameters is not supported by the server");
	all = p2p ? g_variant_ref(params) : with_text(params, "migrate_uri", to_uri);
	answer = job_call(sh, watch, "domain_migrate_perform3_params",
			  g_variant_new("(@" DOMAIN "ms@a(sv)@ayu)", dom, p2p ? to_uri : NULL, all, no_bytes(), flags));
	return answer;
}

/* ---- when it takes too long ---- */

static void ignore(GObject *source, GAsyncResult *result, gpointer opaque)
{
	g_autoptr(GVariant) answer = kv_connection_call_finish(KV_CONNECTION(source), result, NULL);
}

static void suspend_then(struct shell *sh, GVariant *dom)
{
	kv_connection_call(sh->conn, "domain_suspend", g_variant_new("(@" DOMAIN ")", dom), NULL, ignore, NULL);
}

static void postcopy_then(struct shell *sh, GVariant *dom)
{
	kv_connection_call(sh->conn, "domain_migrate_start_post_copy", g_variant_new("(@" DOMAIN "u)", dom, 0), NULL, ignore,
			   NULL);
}

static void on_iteration(KvConnection *conn, const char *procedure, GVariant *body, struct shell *sh)
{
	g_autoptr(GVariant) dom = NULL;
	gint32 iteration;

	if (strcmp(procedure, "domain_event_callback_migration_iteration") != 0)
		return;
	g_variant_get(body, "(i@" DOMAIN "i)", NULL, &dom, &iteration);
	if (iteration == 2)
		postcopy_then(sh, dom);
}

static bool check(struct shell *sh, const struct args *a, unsigned flags)
{
	if (args_exclude(sh, a, "live", "offline") || args_exclude(sh, a, "timeout-suspend", "timeout-postcopy") ||
	    !args_require(sh, a, "postcopy-after-precopy", "postcopy") || !args_require(sh, a, "timeout-postcopy", "postcopy") ||
	    !args_require(sh, a, "postcopy-resume", "postcopy") ||
	    !args_require(sh, a, "persistent-xml", "persistent") || !args_require(sh, a, "tls-destination", "tls"))
		return false;
	if (arg_on(a, "copy-storage-synchronous-writes") && !arg_on(a, "copy-storage-all") && !arg_on(a, "copy-storage-inc"))
		return shell_error(
			sh, "'--copy-storage-synchronous-writes' requires one of '--copy-storage-all', 'copy-storage-inc'");
	if (!arg_on(a, "timeout") && (arg_on(a, "timeout-suspend") || arg_on(a, "timeout-postcopy")))
		return shell_error(sh, "migrate: Unexpected --timeout-* option without --timeout");
	return true;
}

bool cmd_migrate(struct shell *sh, const struct args *a)
{
	enum { EVENT_MIGRATION_ITERATION = 18 };
	unsigned flags = flags_of(a, migrate_flags), seconds = 0;
	const char *to_uri = arg_text(a, "desturi");
	bool alone = (flags & MIGRATE_PEER2PEER) || arg_on(a, "direct"), ok;
	g_autoptr(GVariant) dom = NULL, params = NULL, only = NULL;
	struct job_watch watch = { NULL, "Migration", arg_on(a, "verbose") };
	int given, id = -1;
	gulong handler = 0;

	if (!check(sh, a, flags) || (given = arg_uint(sh, a, "timeout", &seconds)) < 0)
		return false;
	if (given && seconds > G_MAXUINT / 1000)
		return shell_error(sh, "Numeric value '%s' for <timeout> option is malformed or out of range",
				   arg_text(a, "timeout"));
	if (seconds && !(flags & MIGRATE_LIVE))
		return shell_error(sh, "migrate: Unexpected timeout for offline migration");
	if (!(dom = find_domain(sh, a, "domain")) || !(params = take_params(sh, a)))
		return false;
	watch.dom = dom;
	watch.timeout_ms = seconds * 1000;
	watch.on_timeout = arg_on(a, "timeout-postcopy") ? postcopy_then : suspend_then;
	if (arg_on(a, "postcopy-after-precopy")) {
		only = g_variant_ref_sink(g_variant_new_maybe(G_VARIANT_TYPE(DOMAIN), dom));
		if (!ask_int(sh, &id, "connect_domain_event_callback_register_any", "(i@m" DOMAIN ")", EVENT_MIGRATION_ITERATION,
			     only))
			return false;
		handler = g_signal_connect(sh->conn, "event", G_CALLBACK(on_iteration), sh);
	}
	ok = alone ? unmanaged(sh, dom, to_uri, params, flags, &watch) : managed(sh, dom, to_uri, params, flags, &watch);
	if (handler) {
		g_autoptr(GError) why = g_steal_pointer(&sh->error);

		g_signal_handler_disconnect(sh->conn, handler);
		tell(sh, "connect_domain_event_callback_deregister_any", "(i)", id);
		forget_error(sh);
		sh->error = g_steal_pointer(&why);
	}
	return ok;
}

/* ---- what a migration may take ---- */

bool cmd_migrate_setmaxdowntime(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	guint64 ms = 0;

	if (!dom || arg_u64(sh, a, "downtime", &ms) < 0)
		return false;
	if (ms < 1)
		return shell_error(sh, "migrate: Invalid downtime");
	return tell(sh, "domain_migrate_set_max_downtime", "(@" DOMAIN "tu)", dom, ms, 0);
}

bool cmd_migrate_getmaxdowntime(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	guint64 ms;

	if (!dom || !ask_u64(sh, &ms, "domain_migrate_get_max_downtime", "(@" DOMAIN "u)", dom, 0))
		return false;
	say(sh, "%" G_GUINT64_FORMAT "\n", ms);
	return true;
}

bool cmd_migrate_compcache(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	int given = dom ? 0 : -1;
	guint64 bytes = 0;
	const char *unit;
	double v;

	if (dom)
		given = arg_u64(sh, a, "size", &bytes);
	if (given < 0 || (given && !tell(sh, "domain_migrate_set_compression_cache", "(@" DOMAIN "tu)", dom, bytes, 0)) ||
	    !ask_u64(sh, &bytes, "domain_migrate_get_compression_cache", "(@" DOMAIN "u)", dom, 0))
		return false;
	v = scaled(bytes, &unit);
	say(sh, "Compression cache: %.3f %s", v, unit);
	return true;
}

bool cmd_migrate_setspeed(struct shell *sh, const struct args *a)
{
	enum { POSTCOPY = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	guint64 mib = 0;

	return dom && arg_u64(sh, a, "bandwidth", &mib) >= 0 &&
	       tell(sh, "domain_migrate_set_max_speed", "(@" DOMAIN "tu)", dom, mib, arg_on(a, "postcopy") ? POSTCOPY : 0);
}

bool cmd_migrate_getspeed(struct shell *sh, const struct args *a)
{
	enum { POSTCOPY = 1 };
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");
	guint64 mib;

	if (!dom ||
	    !ask_u64(sh, &mib, "domain_migrate_get_max_speed", "(@" DOMAIN "u)", dom, arg_on(a, "postcopy") ? POSTCOPY : 0))
		return false;
	say(sh, "%" G_GUINT64_FORMAT "\n", mib);
	return true;
}

bool cmd_migrate_postcopy(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) dom = find_domain(sh, a, "domain");

	return dom && tell(sh, "domain_migrate_start_post_copy", "(@" DOMAIN "u)", dom, 0);
}
