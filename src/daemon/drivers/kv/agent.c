/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's agent (QEMU's docs/interop/qemu-ga.rst): a socket that is a serial port of the guest. The connection is made when
 * it is first used and kept; each use begins with guest-sync-delimited, so that what an earlier use left unread is not taken for
 * an answer. What comes is the guest's, which may be anything: in size, in shape, and in time. One use at a time a machine,
 * without the domain's job, so that a guest that says nothing keeps nobody from destroying it. See kv.h.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-reply.h"
#include "kv.h"

enum {
	SYNC_SECONDS = 5,
	END_SECONDS = 60, /* until a guest that was told to has ended */
	TURN_SECONDS = 30,
	STEP_MS = 100,
	CHUNK = 64 << 10,
	TOTAL_MAX = 2 * AGENT_REPLY_MAX, /* bytes that are read for one command */
};
#define PORT "org.qemu.guest_agent.0"

/* One use: on the stack of who asks. */
struct turn {
	struct kv_machine *m;
	struct agent_reader *reader;
	gint64 until; /* monotonic time in us; 0: for ever */
	gsize total;
	enum agent_end end;
	bool answered;
	unsigned resets; /* the machine's number of them at the beginning */
};

/* ---- is there one ---- */

static xmlNode *agent_port(const struct domain *d)
{
	xmlNode *channel;

	for (unsigned n = 0; d->live && (channel = domain_def_device(d->live, "channel", n)); n++)
		if (xml_is(channel, "target/@name", PORT) && xml_is(channel, "@type", "unix"))
			return channel;
	return NULL;
}

bool kv_agent_is_there(const struct domain *d)
{
	const xmlNode *port = agent_port(d);

	return port && xml_is(port, "target/@state", "connected");
}

static const char *find_socket(const struct domain *d, GError **error)
{
	const xmlNode *port = agent_port(d);

	if (!port)
		rpc_fail(error, VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
	else if (!kv_agent_is_there(d))
		rpc_fail(error, VIR_ERR_AGENT_UNRESPONSIVE, "QEMU guest agent is not connected");
	else
		return xml_text(port, "source/@path") ?: "";
	return NULL;
}

/* ---- the connection ---- */

void kv_agent_close(struct kv_machine *m)
{
	if (m->agent_fd >= 0)
		close(m->agent_fd);
	m->agent_fd = -1;
}

static bool connect_it(struct kv_machine *m, GError **error)
{
	const char *path = find_socket(m->d, error);

	if (path && m->agent_fd < 0)
		m->agent_fd = kv_connect_unix(path, error);
	return path && m->agent_fd >= 0;
}

static bool fail_gone(GError **error)
{
	return rpc_fail(error, VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent disappeared while executing command");
}

static bool fail_late(GError **error)
{
	return rpc_fail(error, VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent not available for now");
}

/* What the command was for has happened, which is its answer. */
static bool has_ended(const struct turn *t)
{
	const struct kv_machine *m = t->m;

	switch (t->end) {
	case AGENT_ANSWERS:
		return false;
	case AGENT_SHUTS_DOWN:
		return m->gone || m->shutdown;
	case AGENT_RESETS:
		return m->gone || m->resets != t->resets;
	case AGENT_SUSPENDS:
		return m->gone || m->d->state == DOMAIN_PMSUSPENDED;
	}
	return false;
}

/* The lock is free meanwhile. False: it is late, or there is nobody any more. */
static bool rest(struct turn *t, short events, GError **error)
{
	gint64 left = t->until ? (t->until - g_get_monotonic_time() + 999) / 1000 : STEP_MS;
	struct pollfd p = {.fd = t->m->agent_fd, .events = events};

	if (left <= 0)
		return fail_late(error);
	state_release();
	poll(&p, 1, (int)MIN(left, STEP_MS));
	state_acquire();
	if (has_ended(t) || (!t->m->gone && kv_agent_is_there(t->m->d)))
		return true;
	return fail_gone(error);
}

static bool put(struct turn *t, const char *data, gsize len, GError **error)
{
	while (len) {
		ssize_t n = send(t->m->agent_fd, data, len, MSG_NOSIGNAL);

		if (n > 0) {
			data += n;
			len -= (gsize)n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return fail_gone(error);
		} else if (!rest(t, POLLOUT, error)) {
			return false;
		}
	}
	return true;
}

static bool put_command(struct turn *t, JsonNode *command, GError **error)
{
	g_autofree char *text = json_to_string(command, FALSE), *line = g_strconcat(text, "\n", NULL);

	return put(t, line, strlen(line), error);
}

/* NULL without an error: what it was for has happened. */
static JsonNode *take(struct turn *t, GError **error)
{
	g_autofree guint8 *data = g_malloc(CHUNK);

	for (;;) {
		JsonNode *message = agent_reader_next(t->reader);
		ssize_t n;

		if (message || has_ended(t))
			return message;
		n = recv(t->m->agent_fd, data, CHUNK, 0);
		if (n > 0 && (t->total += (gsize)n) > TOTAL_MAX) {
			rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "No complete agent response found in %d bytes", TOTAL_MAX);
			return NULL;
		}
		if (n > 0)
			agent_reader_feed(t->reader, data, (gsize)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return t->end == AGENT_ANSWERS || !rest(t, 0, NULL) ? fail_gone(error), NULL : NULL;
		else if (!rest(t, POLLIN, error))
			return NULL;
	}
}

/* ---- commands ---- */

static gint64 later(int seconds)
{
	return g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
}

/* It throws away what it had of a command, and says where its own answers begin. */
static bool synchronize(struct turn *t, int timeout, GError **error)
{
	gint64 id = g_random_int_range(1, G_MAXINT32);
	g_autofree char *line =
		g_strdup_printf("\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%" G_GINT64_FORMAT "}}\n", id);

	t->until = later(timeout >= 0 ? MIN(timeout, SYNC_SECONDS) : SYNC_SECONDS);
	if (!put(t, line, strlen(line), error))
		return false;
	for (;;) {
		g_autoptr(JsonNode) message = take(t, error);

		if (!message)
			return false;
		if (json_object_has_member(kv_object(message), "return") && kv_number_in(kv_object(message), "return") == id)
			return true;
	}
}

static bool check_answer(JsonNode *answer, JsonNode *command, GError **error)
{
	JsonObject *failure = kv_object_in(kv_object(answer), "error");
	const char *why = kv_text_in(failure, "desc");
	const char *name = kv_text_in(kv_object(command), "execute");

	if (failure)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU agent command '%s': %s", name ? name : "",
				why ? why : "unknown error");
	return json_object_has_member(kv_object(answer), "return") ||
	       rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Missing agent reply object");
}

static JsonNode *run(struct turn *t, JsonNode *command, int timeout, GError **error)
{
	g_autoptr(JsonNode) answer = NULL;
	g_autoptr(GError) why = NULL;

	if (!synchronize(t, timeout, error))
		return NULL;
	t->until = timeout == AGENT_BLOCK ? 0 : later(timeout == AGENT_DEFAULT ? SYNC_SECONDS : timeout);
	if (t->end != AGENT_ANSWERS)
		t->until = later(END_SECONDS);
	if (!put_command(t, command, error))
		return NULL;
	answer = take(t, &why);
	if (why)
		g_propagate_error(error, g_steal_pointer(&why));
	else if (!answer)
		return json_node_init_null(json_node_alloc()); /* nobody is left to answer */
	t->answered = answer;
	return answer && check_answer(answer, command, error) ? g_steal_pointer(&answer) : NULL;
}

/* Whoever asks at the same time waits for its turn. */
static bool begin(struct kv_machine *m, GError **error)
{
	gint64 until = later(TURN_SECONDS);

	while (m->agent_busy && !m->gone)
		if (!state_wait(&m->changed, until))
			return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock");
	if (m->gone)
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain is not running");
	m->agent_busy = true;
	return true;
}

JsonNode *kv_agent_ask(struct domain *d, JsonNode *command, int timeout, enum agent_end end, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	struct turn t = {.m = m, .end = end};
	JsonNode *answer = NULL;
	bool ok;

	if (!m || !find_socket(d, error))
		return NULL;
	kv_machine_ref(m);
	domain_ref(d);
	ok = begin(m, error);
	if (ok) {
		t.reader = agent_reader_new();
		t.resets = m->resets;
		if (connect_it(m, error))
			answer = run(&t, command, timeout, error);
		if ((!answer && !t.answered) || m->gone)
			kv_agent_close(m);
		agent_reader_free(t.reader);
		m->agent_busy = false;
		g_cond_broadcast(&m->changed);
	}
	kv_machine_unref(m);
	domain_unref(d);
	return answer;
}

JsonNode *kv_agent_call(struct domain *d, const char *name, JsonObject *args, enum agent_end end, GError **error)
{
	g_autoptr(JsonObject) o = json_object_new();
	g_autoptr(JsonNode) command = json_node_init_object(json_node_alloc(), o), answer = NULL;
	JsonNode *value;

	json_object_set_string_member(o, "execute", name);
	if (args)
		json_object_set_object_member(o, "arguments", args);
	answer = kv_agent_ask(d, command, d->agent_timeout, end, error);
	if (!answer)
		return NULL;
	value = kv_object(answer) ? json_object_get_member(kv_object(answer), "return") : NULL;
	return value ? json_node_copy(value) : json_node_init_null(json_node_alloc());
}

char *kv_agent(struct domain *d, const char *command, int timeout, GError **error)
{
	g_autoptr(JsonNode) node = NULL, answer = NULL;
	g_autoptr(GError) why = NULL;

	if (timeout < AGENT_BLOCK) {
		rpc_fail(error, VIR_ERR_INVALID_ARG, "guest agent timeout '%d' is less than the minimum '%d'", timeout,
			 AGENT_BLOCK);
		return NULL;
	}
	node = agent_parse(command, &why);
	if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
		rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot parse json %s: %s", command, why ? why->message : "no object");
		return NULL;
	}
	answer = kv_agent_ask(d, node, timeout, AGENT_ANSWERS, error);
	return answer ? json_to_string(answer, FALSE) : NULL;
}
