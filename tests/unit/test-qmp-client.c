/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP client against a peer that does as the test says: answers out of order, events, garbage, silence, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "qmp-client.h"
#include "error.h"
#include "listen.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"

enum { SOON = 50000, LATE = 120 * G_USEC_PER_SEC };

static GMutex lock;
static char *dir, *path;
static GMainLoop *loop;
static GString *events;
static char *closed_why;
static int listener;

static void enter(void)
{
	g_mutex_lock(&lock);
}

static void leave(void)
{
	g_mutex_unlock(&lock);
}

static bool wait_on(GCond *cond, gint64 until)
{
	if (until)
		return g_cond_wait_until(cond, &lock, until);
	g_cond_wait(cond, &lock);
	return true;
}

static void on_event(void *opaque, const char *name, JsonObject *data)
{
	g_string_append_printf(events, "%s/%u ", name, json_object_get_size(data));
}

static void on_closed(void *opaque, const char *why)
{
	assert_null(closed_why);
	closed_why = g_strdup(why);
}

static const struct qmp_client_ops ops = { enter, leave, wait_on, on_event, on_closed };

/* ---- the peer: a list of what it says, each when the next line of the client has come ---- */

struct peer {
	const char *const *says; /* "": nothing; %d in it: the id of that line; NULL: closes */
	GThread *thread;
	int passed; /* the descriptor that came last, -1: none */
};

static bool read_line(int fd, char *line, size_t size, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	size_t n = 0;

	while (n + 1 < size) {
		struct iovec iov = { line + n, 1 };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
		};
		struct cmsghdr *h;

		if (recvmsg(fd, &msg, 0) != 1)
			return false;
		h = CMSG_FIRSTHDR(&msg);
		if (h && h->cmsg_type == SCM_RIGHTS)
			memcpy(ret_fd, CMSG_DATA(h), sizeof(int));
		if (line[n++] == '\n')
			break;
	}
	line[n] = 0;
	return true;
}

static gpointer run_peer(gpointer opaque)
{
	struct peer *p = opaque;
	char line[4096];
	int fd;

	while ((fd = accept(listener, NULL, NULL)) < 0)
		g_usleep(1000);
	for (const char *const *say = p->says; *say; say++) {
		g_autofree char *id = NULL, *text = NULL;
		g_auto(GStrv) parts = NULL;
		const char *at;

		if (say != p->says && !read_line(fd, line, sizeof(line), &p->passed))
			break;
		at = say == p->says ? NULL : strstr(line, "\"id\":");
		id = g_strdup_printf("%d", at ? (int)g_ascii_strtoll(at + strlen("\"id\":"), NULL, 10) : 0);
		parts = g_strsplit(*say, "%d", -1);
		text = g_strjoinv(id, parts);
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	}
	close(fd);
	return NULL;
}

static struct qmp_client *begin(struct peer *p, const char *const *says)
{
	g_autoptr(GError) error = NULL;
	struct qmp_client *c;

	*p = (struct peer){ .says = says, .passed = -1 };
	p->thread = g_thread_new("peer", run_peer, p);
	enter();
	g_string_truncate(events, 0);
	g_clear_pointer(&closed_why, g_free);
	c = qmp_client_connect(path, NULL, &ops, NULL, &error);
	assert_non_null(c);
	return c;
}

static void end(struct peer *p, struct qmp_client *c)
{
	qmp_client_close(c);
	qmp_client_unref(c);
	leave();
	g_thread_join(p->thread);
	if (p->passed >= 0)
		close(p->passed);
}

static gint64 soon(void)
{
	return g_get_monotonic_time() + SOON;
}

static gint64 late(void)
{
	return g_get_monotonic_time() + LATE;
}

#define OK "{\"return\": {}, \"id\": %d}\n"

static void answers_and_events(void **state)
{
	static const char *const says[] = { GREETING "{\"event\": \"EARLY\"}", OK,
					    "{\"return\": [1], \"id\": 999}{\"event\":\"A\",\"data\":{\"x\":1}}\n"
					    "{\"return\": {\"n\": 5}, \"id\": %d}{\"event\": \"B\"}\n",
					    "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no such\"}, \"id\": %d}",
					    NULL };
	g_autoptr(GError) error = NULL;
	struct peer p;
	struct qmp_client *c = begin(&p, says);
	JsonNode *r;

	assert_true(qmp_client_negotiate(c, late(), &error));
	r = qmp_client_call(c, "query-n", NULL, 0, late(), &error); /* standard input goes along */
	assert_non_null(r);
	assert_int_equal(json_object_get_int_member(json_node_get_object(r), "n"), 5);
	json_node_unref(r);
	assert_null(qmp_client_call(c, "device_del", json_object_new(), -1, late(), &error));
	assert_true(g_error_matches(error, QMP_ERROR, QMP_ERROR_DEVICE_NOT_FOUND));
	assert_string_equal(error->message, "no such");
	assert_string_equal(events->str, "EARLY/0 A/1 B/0 ");
	assert_true(p.passed >= 0);
	end(&p, c);
}

/* Who is too late is not waited for, and its answer is nobody's; then the end comes while somebody waits. */
static void late_and_gone(void **state)
{
	static const char *const says[] = { GREETING, OK, "", "{\"return\": {\"n\": 1}, \"id\": 2}\n" OK, "", NULL };
	g_autoptr(GError) error = NULL;
	struct peer p;
	struct qmp_client *c = begin(&p, says);
	JsonNode *r;

	assert_true(qmp_client_negotiate(c, late(), &error));
	assert_null(qmp_client_call(c, "slow", NULL, -1, soon(), &error));
	assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_BUSY));
	g_clear_error(&error);
	r = qmp_client_call(c, "next", NULL, -1, late(), &error);
	assert_int_equal(json_object_get_size(json_node_get_object(r)), 0);
	json_node_unref(r);
	assert_null(qmp_client_call(c, "last", NULL, -1, late(), &error));
	assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_SYSTEM));
	assert_string_equal(closed_why, "the other side closed it");
	assert_false(qmp_client_is_open(c));
	g_clear_error(&error);
	assert_null(qmp_client_call(c, "after", NULL, -1, late(), &error));
	assert_non_null(error);
	end(&p, c);
}

static void no_greeting(void **state)
{
	static const char *const says[] = { "", "", NULL };
	g_autoptr(GError) error = NULL;
	struct peer p;
	struct qmp_client *c = begin(&p, says);

	assert_false(qmp_client_negotiate(c, soon(), &error));
	assert_string_equal(error->message, "the machine's monitor does not greet");
	end(&p, c);
}

static void garbage(void **state)
{
	static const char *const bad[][3] = {
		{ "220 smtp.example ESMTP\n", "" },	{ "[1]\n", "" },
		{ "{\"event\": \"TOO_EARLY\"}\n", "" }, { GREETING "{\"what\": 1}\n", "" },
		{ GREETING "\xff\xfe", "" },		{ GREETING "{\"error\": 5, \"id\": 1}", "" },
		{ GREETING, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error\"}}" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		struct peer p;
		struct qmp_client *c = begin(&p, bad[i]);

		assert_false(qmp_client_negotiate(c, late(), &error));
		assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_SYSTEM));
		assert_non_null(closed_why);
		end(&p, c);
	}
}

/* More than a server takes of its clients. */
static void large_answer(void **state)
{
	g_autofree char *text = g_strnfill(1 << 20, 'x');
	g_autofree char *say = g_strdup_printf("{\"return\": \"%s\", \"id\": %%d}\n", text);
	const char *const says[] = { GREETING, OK, say, NULL };
	g_autoptr(GError) error = NULL;
	struct peer p;
	struct qmp_client *c = begin(&p, says);
	JsonNode *r;

	assert_true(qmp_client_negotiate(c, late(), &error));
	r = qmp_client_call(c, "much", NULL, -1, late(), &error);
	assert_non_null(r);
	assert_int_equal(strlen(json_node_get_string(r)), 1 << 20);
	json_node_unref(r);
	end(&p, c);
}

static gpointer run_loop(gpointer opaque)
{
	g_main_loop_run(loop);
	return NULL;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_and_events), cmocka_unit_test(late_and_gone), cmocka_unit_test(no_greeting),
		cmocka_unit_test(garbage),	      cmocka_unit_test(large_answer),
	};
	GThread *thread;
	int status;

	dir = g_dir_make_tmp("kv-test-XXXXXX", NULL);
	path = g_build_filename(dir, "qmp", NULL);
	listener = kv_listen_unix("socket", path, NULL);
	events = g_string_new(NULL);
	loop = g_main_loop_new(NULL, FALSE);
	thread = g_thread_new("loop", run_loop, NULL);
	status = cmocka_run_group_tests(tests, NULL, NULL);
	g_main_loop_quit(loop);
	g_thread_join(thread);
	g_main_loop_unref(loop);
	close(listener);
	g_unlink(path);
	g_rmdir(dir);
	g_string_free(events, TRUE);
	g_free(closed_why);
	g_free(path);
	g_free(dir);
	return status;
}
