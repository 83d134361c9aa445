/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's side of a QMP connection. See qmp-client.h; reader.c finds messages, message.c has the classes of errors. */
#include "qmp-client.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "reader.h"

enum { CHUNK = 64 << 10, CHUNKS = 16, OUT_MAX = 64 << 20 };

/* A command whose answer has not come: on the stack of who waits. */
struct wait {
	guint64 id;
	JsonNode *answer;
	bool done;
	GCond cond;
};

struct qmp_client {
	int refs; /* atomic; the source has one */
	const struct qmp_client_ops *ops;
	void *opaque;
	int fd; /* -1: closed */
	GSource *source;
	gpointer tag;
	struct qmp_reader *reader, *own; /* own: reads what we send, as the other side will; NULL: not needed yet */
	GString *out;
	GHashTable *waiting; /* id -> struct wait */
	guint64 last_id;
	bool greeted;
	GCond greeting;
	char *why; /* it is closed */
};

struct client_source {
	GSource source;
	struct qmp_client *c;
};

struct qmp_client *qmp_client_ref(struct qmp_client *c)
{
	g_atomic_int_inc(&c->refs);
	return c;
}

void qmp_client_unref(struct qmp_client *c)
{
	if (!c || !g_atomic_int_dec_and_test(&c->refs))
		return;
	if (c->fd >= 0)
		close(c->fd);
	qmp_reader_free(c->reader);
	qmp_reader_free(c->own);
	g_string_free(c->out, TRUE);
	g_hash_table_unref(c->waiting);
	g_cond_clear(&c->greeting);
	g_free(c->why);
	g_free(c);
}

/* ---- closing ---- */

static void shut(struct qmp_client *c, const char *why)
{
	GHashTableIter iter;
	gpointer wait;

	if (c->fd < 0)
		return;
	c->why = g_strdup(why);
	g_source_destroy(c->source);
	g_clear_pointer(&c->source, g_source_unref);
	close(c->fd);
	c->fd = -1;
	g_hash_table_iter_init(&iter, c->waiting);
	while (g_hash_table_iter_next(&iter, NULL, &wait))
		g_cond_signal(&((struct wait *)wait)->cond);
	g_cond_broadcast(&c->greeting);
}

void qmp_client_close(struct qmp_client *c)
{
	shut(c, "it was closed");
}

bool qmp_client_is_open(const struct qmp_client *c)
{
	return c->fd >= 0;
}

static void lost(struct qmp_client *c, const char *why)
{
	if (c->fd < 0)
		return;
	shut(c, why);
	c->ops->closed(c->opaque, c->why);
}

static bool fail_closed(const struct qmp_client *c, GError **error)
{
	return kv_fail(error, KV_ERROR_SYSTEM, "the connection to the machine's monitor is gone: %s", c->why);
}

/* ---- messages ---- */

static void take_answer(struct qmp_client *c, JsonNode *message, JsonObject *o)
{
	JsonNode *id = json_object_get_member(o, "id");
	guint64 n = 0;
	struct wait *w;

	/* All of ours have one: what it could not even read has not, and whoever sent that would wait for ever. */
	if (!id || !JSON_NODE_HOLDS_VALUE(id) || json_node_get_value_type(id) != G_TYPE_INT64) {
		lost(c, "it did not understand a command");
		return;
	}
	n = (guint64)json_node_get_int(id);
	w = g_hash_table_lookup(c->waiting, &n);
	if (!w || w->done) /* nobody waits for it any more */
		return;
	w->answer = json_node_ref(message);
	w->done = true;
	g_cond_signal(&w->cond);
}

static JsonObject *object_of(JsonObject *o, const char *name)
{
	JsonNode *node = json_object_get_member(o, name);

	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static const char *text_of(JsonObject *o, const char *name)
{
	JsonNode *node = json_object_get_member(o, name);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

static void take_event(struct qmp_client *c, const char *name, JsonObject *o)
{
	JsonObject *data = object_of(o, "data");

	if (data)
		json_object_ref(data);
	else
		data = json_object_new();
	c->ops->event(c->opaque, name, data);
	json_object_unref(data);
}

static void take(struct qmp_client *c, JsonNode *message)
{
	JsonObject *o = JSON_NODE_HOLDS_OBJECT(message) ? json_node_get_object(message) : NULL;

	if (!o) {
		lost(c, "it sent something that is no message");
	} else if (object_of(o, "QMP")) {
		c->greeted = true;
		g_cond_broadcast(&c->greeting);
	} else if (!c->greeted) {
		lost(c, "it is no QMP server");
	} else if (json_object_has_member(o, "return") || object_of(o, "error")) {
		take_answer(c, message, o);
	} else if (text_of(o, "event")) {
		take_event(c, text_of(o, "event"), o);
	} else {
		lost(c, "it sent a message of no kind that there is");
	}
}

/* ---- bytes ---- */

static void read_chunk(struct qmp_client *c, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len && c->fd >= 0;) {
		g_autoptr(GError) fault = NULL;
		JsonNode *message = NULL;

		at += qmp_reader_feed(c->reader, data + at, len - at, &message, &fault);
		if (fault)
			lost(c, fault->message);
		else if (message)
			take(c, message);
		g_clear_pointer(&message, json_node_unref);
	}
}

/* False: there is no more for now, or for ever. */
static bool read_some(struct qmp_client *c)
{
	g_autofree uint8_t *data = g_malloc(CHUNK);
	ssize_t n = read(c->fd, data, CHUNK);

	if (n > 0)
		read_chunk(c, data, (size_t)n);
	else if (n == 0)
		lost(c, "the other side closed it");
	else if (errno != EAGAIN && errno != EINTR)
		lost(c, g_strerror(errno));
	return n == CHUNK && c->fd >= 0;
}

static void watch(struct qmp_client *c)
{
	g_source_modify_unix_fd(c->source, c->tag, G_IO_IN | G_IO_HUP | G_IO_ERR | (c->out->len ? G_IO_OUT : 0));
}

static void write_some(struct qmp_client *c)
{
	while (c->fd >= 0 && c->out->len) {
		ssize_t n = send(c->fd, c->out->str, c->out->len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return; /* reading finds what is left, and the end */
		if (n <= 0)
			break;
		g_string_erase(c->out, 0, n);
	}
	if (c->fd >= 0)
		watch(c);
}

static gboolean dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
	struct qmp_client *c = ((struct client_source *)source)->c;

	c->ops->enter();
	if (c->fd >= 0)
		write_some(c);
	for (unsigned i = 0; i < CHUNKS && c->fd >= 0; i++)
		if (!read_some(c))
			break;
	c->ops->leave();
	return G_SOURCE_CONTINUE;
}

static void finalize(GSource *source)
{
	qmp_client_unref(((struct client_source *)source)->c);
}

static GSourceFuncs source_funcs = {.dispatch = dispatch, .finalize = finalize};

/* The socket does not block: where the peer lets nobody in for now, its backlog is full, that is KV_ERROR_BUSY. */
static int connect_to(const char *path, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
		kv_fail(error, KV_ERROR_USAGE, "'%s' is longer than a socket's path may be", path);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	kv_fail(error, errno == EAGAIN ? KV_ERROR_BUSY : KV_ERROR_SYSTEM, "cannot connect to the monitor '%s': %s", path,
		g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

struct qmp_client *qmp_client_new(int fd, GMainContext *context, const struct qmp_client_ops *ops, void *opaque)
{
	struct qmp_client *c = g_new0(struct qmp_client, 1);

	*c = (struct qmp_client){.refs = 2, .ops = ops, .opaque = opaque, .fd = fd};
	c->reader = qmp_reader_new();
	qmp_reader_set_max(c->reader, QMP_ANSWER_MAX);
	c->out = g_string_new(NULL);
	c->waiting = g_hash_table_new(g_int64_hash, g_int64_equal);
	g_cond_init(&c->greeting);
	c->source = g_source_new(&source_funcs, sizeof(struct client_source));
	((struct client_source *)c->source)->c = c;
	c->tag = g_source_add_unix_fd(c->source, fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
	g_source_attach(c->source, context);
	return c;
}

struct qmp_client *qmp_client_connect(const char *path, GMainContext *context, const struct qmp_client_ops *ops, void *opaque,
				      GError **error)
{
	int fd = connect_to(path, error);

	return fd < 0 ? NULL : qmp_client_new(fd, context, ops, opaque);
}

/* ---- calls ---- */

static bool send_fd(struct qmp_client *c, int passed, GError **error)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec iov = {c->out->str, 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int))};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &passed, sizeof(int));
	if (sendmsg(c->fd, &msg, MSG_NOSIGNAL) != 1)
		return kv_fail_errno(error, errno, "cannot pass a descriptor to the machine's monitor");
	g_string_erase(c->out, 0, 1);
	return true;
}

/*
 * What the other side cannot read, as it is too long or too deep, has no answer with our id, and would be the end of the
 * connection (take_answer()).
 */
static bool check_readable(struct qmp_client *c, const char *text, GError **error)
{
	g_autoptr(GError) fault = NULL;
	JsonNode *message = NULL;

	if (!c->own)
		c->own = qmp_reader_new();
	qmp_reader_feed(c->own, (const uint8_t *)text, strlen(text), &message, &fault);
	if (message) {
		json_node_unref(message);
		return true;
	}
	g_clear_pointer(&c->own, qmp_reader_free);
	return kv_fail(error, KV_ERROR_INVALID, "the machine's monitor could not read the command: %s",
		       fault ? fault->message : "it has no end");
}

/* A descriptor goes with the command's first byte, so nothing may wait in front of it. */
static bool put(struct qmp_client *c, JsonObject *command, int fd, GError **error)
{
	g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), command);
	g_autofree char *text = json_to_string(node, FALSE);

	if (!check_readable(c, text, error))
		return false;
	if (c->out->len + strlen(text) > OUT_MAX || (fd >= 0 && c->out->len))
		return kv_fail(error, KV_ERROR_BUSY, "the machine's monitor does not read");
	g_string_append(c->out, text);
	g_string_append_c(c->out, '\n');
	if (fd >= 0 && !send_fd(c, fd, error)) {
		g_string_truncate(c->out, 0);
		return false;
	}
	write_some(c);
	return true;
}

JsonNode *qmp_client_pass(struct qmp_client *c, JsonObject *command, int fd, gint64 until, GError **error)
{
	struct wait w = {.id = ++c->last_id};

	if (c->fd < 0)
		fail_closed(c, error);
	json_object_set_int_member(command, "id", (gint64)w.id);
	if (c->fd < 0 || !put(c, command, fd, error))
		return NULL;
	qmp_client_ref(c);
	g_cond_init(&w.cond);
	g_hash_table_insert(c->waiting, &w.id, &w);
	while (!w.done && c->fd >= 0)
		if (!c->ops->wait(&w.cond, until))
			break;
	g_hash_table_remove(c->waiting, &w.id);
	g_cond_clear(&w.cond);
	if (!w.done && c->fd < 0)
		fail_closed(c, error);
	else if (!w.done)
		kv_fail(error, KV_ERROR_BUSY, "the machine's monitor does not answer");
	qmp_client_unref(c);
	return w.answer;
}

JsonNode *qmp_client_call(struct qmp_client *c, const char *command, JsonObject *args, int fd, gint64 until, GError **error)
{
	g_autoptr(JsonObject) o = json_object_new();
	g_autoptr(JsonNode) answer = NULL;
	JsonObject *failure;

	json_object_set_string_member(o, "execute", command);
	if (args)
		json_object_set_object_member(o, "arguments", args);
	answer = qmp_client_pass(c, o, fd, until, error);
	if (!answer)
		return NULL;
	failure = object_of(json_node_get_object(answer), "error");
	if (!failure)
		return json_node_copy(json_object_get_member(json_node_get_object(answer), "return"));
	return qmp_fail(error, qmp_error_of_class(text_of(failure, "class")), "%s",
			text_of(failure, "desc") ? text_of(failure, "desc") : "an error without a text");
}

bool qmp_client_negotiate(struct qmp_client *c, gint64 until, GError **error)
{
	g_autoptr(JsonNode) answer = NULL;

	qmp_client_ref(c);
	while (!c->greeted && c->fd >= 0)
		if (!c->ops->wait(&c->greeting, until))
			break;
	if (c->greeted && c->fd >= 0)
		answer = qmp_client_call(c, "qmp_capabilities", NULL, -1, until, error);
	else if (c->fd < 0)
		fail_closed(c, error);
	else
		kv_fail(error, KV_ERROR_BUSY, "the machine's monitor does not greet");
	qmp_client_unref(c);
	return answer;
}
