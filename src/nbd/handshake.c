/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The haggling before requests (doc/proto.md, "Newstyle negotiation"): a loop over options, of which each is a row of
 * options[]. An option's data is read whole before it is looked at, within bounds; `struct data` is how it is taken apart.
 */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "connection.h"
#include "log.h"

enum {
	DATA_MAX = 64 << 10, /* of an option; longer ones are refused */
	INFOS_MAX = 64,
	QUERIES_MAX = 256,
	EXPORT_NAME_ZEROES = 124,
};

/* What is left of an option's data. */
struct data {
	const uint8_t *at;
	unsigned len;
};

enum outcome {
	HAGGLE, /* the next option */
	SERVE,
	LEAVE,
};

static bool take(struct data *d, unsigned len, const uint8_t **ret)
{
	if (d->len < len)
		return false;
	*ret = d->at;
	d->at += len;
	d->len -= len;
	return true;
}

static bool take16(struct data *d, uint16_t *ret)
{
	const uint8_t *p;

	if (!take(d, 2, &p))
		return false;
	*ret = get_be16(p);
	return true;
}

static bool take32(struct data *d, uint32_t *ret)
{
	const uint8_t *p;

	if (!take(d, 4, &p))
		return false;
	*ret = get_be32(p);
	return true;
}

/* A length and that many bytes, none of them NUL; to be freed. */
static bool take_string(struct data *d, char **ret)
{
	const uint8_t *p;
	uint32_t len;

	if (!take32(d, &len) || len > NBD_MAX_STRING || !take(d, len, &p) || memchr(p, 0, len))
		return false;
	*ret = g_strndup((const char *)p, len);
	return true;
}

/* ---- replies ---- */

static bool reply(struct nbd_conn *c, uint32_t option, uint32_t type, const void *a, unsigned a_len, const void *b,
		  unsigned b_len)
{
	uint8_t *to = conn_out(c, 20 + a_len + b_len);

	if (!to)
		return false;
	put_be64(to, NBD_REP_MAGIC);
	put_be32(to + 8, option);
	put_be32(to + 12, type);
	put_be32(to + 16, a_len + b_len);
	if (a_len)
		memcpy(to + 20, a, a_len);
	if (b_len)
		memcpy(to + 20 + a_len, b, b_len);
	conn_out_add(c, 20 + a_len + b_len);
	return true;
}

static enum outcome ack(struct nbd_conn *c, uint32_t option)
{
	return reply(c, option, NBD_REP_ACK, NULL, 0, NULL, 0) ? HAGGLE : LEAVE;
}

static enum outcome G_GNUC_PRINTF(4, 5) refuse(struct nbd_conn *c, uint32_t option, uint32_t type, const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = g_strdup_vprintf(format, ap);
	va_end(ap);
	return reply(c, option, type, text, MIN(strlen(text), NBD_MAX_STRING), NULL, 0) ? HAGGLE : LEAVE;
}

static enum outcome bad_length(struct nbd_conn *c, uint32_t option)
{
	return refuse(c, option, NBD_REP_ERR_INVALID, "the option's data has not the length that it should have");
}

/* ---- exports ---- */

static uint16_t export_flags(const struct nbd_conn *c)
{
	const struct nbd_export *e = c->export;
	uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;

	/* A flush is of the whole image, whoever wrote. Who is told that and may not connect again would wait for ever. */
	flags |= e->many ? NBD_FLAG_CAN_MULTI_CONN : 0;
	flags |= e->writable ? NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO : NBD_FLAG_READ_ONLY;
	if (e->writable && e->img->discard)
		flags |= NBD_FLAG_SEND_TRIM;
	return c->structured ? flags | NBD_FLAG_SEND_DF : flags;
}

static void put_export(struct nbd_conn *c, uint8_t *to)
{
	c->size = __atomic_load_n(&c->export->img->size, __ATOMIC_RELAXED);
	put_be64(to, c->size);
	put_be16(to + 8, export_flags(c));
}

static enum outcome export_name(struct nbd_conn *c, uint32_t option, struct data *d)
{
	g_autofree char *name = NULL;
	unsigned len = 10 + (c->no_zeroes ? 0 : EXPORT_NAME_ZEROES);
	uint8_t *to;

	/* There is no way to say no but to leave. */
	if (d->len > NBD_MAX_STRING || memchr(d->at, 0, d->len))
		return LEAVE;
	name = g_strndup((const char *)d->at, d->len);
	to = server_take_export(c, name) ? conn_out(c, len) : NULL;
	if (!to)
		return LEAVE;
	memset(to, 0, len);
	put_export(c, to);
	conn_out_add(c, len);
	if (g_strcmp0(c->meta_export, name) != 0)
		c->contexts = 0;
	return SERVE;
}

static bool wanted(const uint16_t *infos, unsigned n, uint16_t info)
{
	for (unsigned i = 0; i < n; i++)
		if (infos[i] == info)
			return true;
	return false;
}

static bool reply_infos(struct nbd_conn *c, uint32_t option, const uint16_t *infos, unsigned n)
{
	uint8_t head[14] = {};
	const char *description = c->export->description;
	bool ok = true;

	put_be16(head, NBD_INFO_NAME);
	if (wanted(infos, n, NBD_INFO_NAME))
		ok = reply(c, option, NBD_REP_INFO, head, 2, c->export->name, strlen(c->export->name));
	put_be16(head, NBD_INFO_DESCRIPTION);
	if (ok && description && wanted(infos, n, NBD_INFO_DESCRIPTION))
		ok = reply(c, option, NBD_REP_INFO, head, 2, description, strlen(description));
	put_be16(head, NBD_INFO_BLOCK_SIZE);
	put_be32(head + 2, 1);
	put_be32(head + 6, 4096);
	put_be32(head + 10, NBD_MAX_PAYLOAD);
	if (ok && wanted(infos, n, NBD_INFO_BLOCK_SIZE))
		ok = reply(c, option, NBD_REP_INFO, head, 14, NULL, 0);
	put_be16(head, NBD_INFO_EXPORT);
	put_export(c, head + 2);
	return ok && reply(c, option, NBD_REP_INFO, head, 12, NULL, 0);
}

static enum outcome info_or_go(struct nbd_conn *c, uint32_t option, struct data *d)
{
	g_autofree char *name = NULL;
	uint16_t n, infos[INFOS_MAX];
	enum outcome out;

	if (!take_string(d, &name) || !take16(d, &n) || d->len != n * 2u || n > INFOS_MAX)
		return bad_length(c, option);
	for (unsigned i = 0; i < n; i++)
		if (!take16(d, &infos[i]))
			return bad_length(c, option);
	if (!server_take_export(c, name))
		return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no export '%s'", name);
	out = reply_infos(c, option, infos, n) ? ack(c, option) : LEAVE;
	if (option == NBD_OPT_GO && g_strcmp0(c->meta_export, name) != 0)
		c->contexts = 0;
	if (option == NBD_OPT_GO && out == HAGGLE)
		return SERVE;
	server_drop_export(c);
	return out;
}

struct list {
	struct nbd_conn *c;
	bool ok;
};

static void list_one(void *opaque, const struct nbd_export *e)
{
	g_autofree uint8_t *data = g_malloc(4 + strlen(e->name));
	const char *description = e->description ? e->description : "";
	struct list *l = opaque;

	put_be32(data, strlen(e->name));
	memcpy(data + 4, e->name, strlen(e->name));
	l->ok = l->ok && reply(l->c, NBD_OPT_LIST, NBD_REP_SERVER, data, 4 + strlen(e->name), description, strlen(description));
}

static enum outcome list(struct nbd_conn *c, uint32_t option, struct data *d)
{
	struct list l = { c, true };

	if (d->len)
		return bad_length(c, option);
	server_each_export(c->server, list_one, &l);
	return l.ok ? ack(c, option) : LEAVE;
}

/* ---- metadata contexts ---- */

/* Does a query mean this context? To list, "base:" and the like mean all that begin so. */
static bool matches(const char *query, const char *name, bool to_list)
{
	size_t len = strlen(query);

	if (strcmp(query, name) == 0)
		return true;
	return to_list && len && query[len - 1] == ':' && strncmp(query, name, len) == 0;
}

static uint32_t contexts_of(const struct nbd_export *e, const char *query, bool to_list)
{
	uint32_t found = 0;

	for (unsigned i = 0; i < CONTEXTS; i++) {
		g_autofree char *name = conn_context_name(e, i);

		if (name && (!query || matches(query, name, to_list)))
			found |= 1u << i;
	}
	return found;
}

static bool reply_contexts(struct nbd_conn *c, uint32_t option, uint32_t found)
{
	for (unsigned i = 0; i < CONTEXTS; i++) {
		g_autofree char *name = found & 1u << i ? conn_context_name(c->export, i) : NULL;
		uint8_t id[4];

		put_be32(id, option == NBD_OPT_SET_META_CONTEXT ? i : 0);
		if (name && !reply(c, option, NBD_REP_META_CONTEXT, id, 4, name, strlen(name)))
			return false;
	}
	return true;
}

/* The queries' contexts; false: the data is not what it should be. */
static bool read_queries(struct nbd_conn *c, struct data *d, bool to_list, uint32_t *ret)
{
	uint32_t n;

	if (!take32(d, &n) || n > QUERIES_MAX)
		return false;
	*ret = !n && to_list ? contexts_of(c->export, NULL, true) : 0;
	for (; n; n--) {
		g_autofree char *query = NULL;

		if (!take_string(d, &query))
			return false;
		*ret |= contexts_of(c->export, query, to_list);
	}
	return !d->len;
}

static enum outcome meta_context(struct nbd_conn *c, uint32_t option, struct data *d)
{
	g_autofree char *name = NULL;
	bool to_list = option == NBD_OPT_LIST_META_CONTEXT, ok;
	uint32_t found = 0;

	if (!to_list) { /* whatever comes of it, it takes the place of what was chosen */
		c->contexts = 0;
		g_clear_pointer(&c->meta_export, g_free);
	}
	if (!c->structured)
		return refuse(c, option, NBD_REP_ERR_INVALID, "structured replies have to be agreed on before");
	if (!take_string(d, &name))
		return bad_length(c, option);
	if (!server_take_export(c, name))
		return refuse(c, option, NBD_REP_ERR_UNKNOWN, "there is no export '%s'", name);
	if (!read_queries(c, d, to_list, &found)) {
		server_drop_export(c);
		return bad_length(c, option);
	}
	ok = reply_contexts(c, option, found);
	server_drop_export(c);
	if (!to_list) {
		c->contexts = found;
		c->meta_export = g_steal_pointer(&name);
	}
	return ok ? ack(c, option) : LEAVE;
}

/* ---- the rest ---- */

static enum outcome structured_reply(struct nbd_conn *c, uint32_t option, struct data *d)
{
	if (d->len)
		return bad_length(c, option);
	if (c->structured)
		return refuse(c, option, NBD_REP_ERR_INVALID, "structured replies are agreed on already");
	c->structured = true;
	return ack(c, option);
}

static enum outcome start_tls(struct nbd_conn *c, uint32_t option, struct data *d)
{
	g_autoptr(GError) error = NULL;

	if (d->len)
		return bad_length(c, option);
	if (c->tls)
		return refuse(c, option, NBD_REP_ERR_INVALID, "TLS is in use already");
	if (!c->tls_creds)
		return refuse(c, option, NBD_REP_ERR_POLICY, "TLS is not configured");
	/* A client waits for the answer; bytes behind the option are somebody else's, or not to be trusted. */
	if (conn_have(c) || ack(c, option) != HAGGLE || !conn_send(c))
		return LEAVE;
	if (!conn_start_tls(c, &error)) {
		kv_log_debug("NBD: %s", error->message);
		return LEAVE;
	}
	c->structured = false;
	c->contexts = 0;
	g_clear_pointer(&c->meta_export, g_free);
	return HAGGLE;
}

static enum outcome leave(struct nbd_conn *c, uint32_t option, struct data *d)
{
	ack(c, option);
	return LEAVE;
}

static const struct {
	enum nbd_option option;
	enum outcome (*run)(struct nbd_conn *c, uint32_t option, struct data *d);
} options[] = {
	{ NBD_OPT_EXPORT_NAME, export_name },
	{ NBD_OPT_ABORT, leave },
	{ NBD_OPT_LIST, list },
	{ NBD_OPT_STARTTLS, start_tls },
	{ NBD_OPT_INFO, info_or_go },
	{ NBD_OPT_GO, info_or_go },
	{ NBD_OPT_STRUCTURED_REPLY, structured_reply },
	{ NBD_OPT_LIST_META_CONTEXT, meta_context },
	{ NBD_OPT_SET_META_CONTEXT, meta_context },
};

static enum outcome run_option(struct nbd_conn *c, uint32_t option, struct data *d)
{
	bool clear = option == NBD_OPT_STARTTLS || option == NBD_OPT_ABORT;

	if (c->tls_creds && !c->tls && !clear) {
		if (option == NBD_OPT_EXPORT_NAME)
			return LEAVE;
		return refuse(c, option, NBD_REP_ERR_TLS_REQD, "TLS has to be started before");
	}
	for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
		if (options[i].option == option)
			return options[i].run(c, option, d);
	return refuse(c, option, NBD_REP_ERR_UNSUP, "option %u is not known", option);
}

static enum outcome one_option(struct nbd_conn *c)
{
	uint32_t option, len;
	struct data d;

	if (!conn_need(c, NBD_OPTION_SIZE) || get_be64(c->in + c->in_at) != NBD_OPTS_MAGIC)
		return LEAVE;
	option = get_be32(c->in + c->in_at + 8);
	len = get_be32(c->in + c->in_at + 12);
	c->in_at += NBD_OPTION_SIZE;
	if (len > DATA_MAX) {
		if (len > NBD_MAX_PAYLOAD || option == NBD_OPT_EXPORT_NAME || !conn_skip(c, len))
			return LEAVE;
		return refuse(c, option, NBD_REP_ERR_TOO_BIG, "an option has at most %d bytes", DATA_MAX);
	}
	if (!conn_need(c, len))
		return LEAVE;
	d = (struct data){ c->in + c->in_at, len };
	c->in_at += len;
	return run_option(c, option, &d);
}

bool conn_handshake(struct nbd_conn *c)
{
	uint8_t *to = conn_out(c, 18);
	enum outcome out = HAGGLE;
	uint32_t flags;

	put_be64(to, NBD_MAGIC);
	put_be64(to + 8, NBD_OPTS_MAGIC);
	put_be16(to + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	conn_out_add(c, 18);
	if (!conn_send(c) || !conn_need(c, 4))
		return false;
	flags = get_be32(c->in + c->in_at);
	c->in_at += 4;
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return false;
	c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	while (out == HAGGLE) {
		out = one_option(c);
		if (out == HAGGLE && !conn_send(c))
			return false;
	}
	return out == SERVE;
}
