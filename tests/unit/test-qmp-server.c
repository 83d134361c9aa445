/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP server's socket: clients that do not read, and commands that wait while the machine is busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "server.h"

enum { ENOUGH = 200 }; /* turns of the main loop */

struct owner {
	bool busy;
	unsigned runs;
};

static JsonNode *run_count(void *opaque, JsonObject *args, GError **error)
{
	((struct owner *)opaque)->runs++;
	return qmp_nothing();
}

static bool is_busy(void *opaque)
{
	return ((struct owner *)opaque)->busy;
}

static const struct qmp_command commands[] = { { "count", run_count }, {} };
static const struct qmp_server_ops ops = { .commands = commands, .version = qmp_nothing, .busy = is_busy };

static char *dir, *path;

static void turn(void)
{
	for (unsigned i = 0; i < ENOUGH; i++)
		g_main_context_iteration(NULL, FALSE);
}

static int connect_client(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path)) < sizeof(sa.sun_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turn();
}

/* What has come, as text. */
static char *hear(int fd)
{
	GString *s = g_string_new(NULL);
	char part[4096];
	ssize_t n;

	turn();
	while ((n = recv(fd, part, sizeof(part), MSG_DONTWAIT)) > 0) {
		g_string_append_len(s, part, n);
		turn();
	}
	return g_string_free(s, FALSE);
}

#define NEGOTIATE "{\"execute\":\"qmp_capabilities\"}"
#define COUNT "{\"execute\":\"count\"}"

static struct qmp_server *start(struct owner *owner)
{
	g_autoptr(GError) error = NULL;
	struct qmp_server *s = qmp_server_new(path, &ops, owner, &error);

	if (!s)
		fail_msg("%s", error->message);
	return s;
}

static void test_events(void **state)
{
	struct owner owner = { 0 };
	struct qmp_server *s = start(&owner);
	g_autoptr(JsonObject) data = json_object_new();
	g_autofree char *before = NULL, *after = NULL;
	int fd = connect_client();

	json_object_set_int_member(data, "n", 5);
	qmp_server_event(s, "EARLY", data);
	turn();
	qmp_server_event(s, "UNNEGOTIATED", data);
	before = hear(fd);
	assert_string_equal(before, "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n");
	say(fd, NEGOTIATE);
	qmp_server_event(s, "BARE", NULL);
	qmp_server_event(s, "FULL", data);
	after = hear(fd);
	assert_true(g_str_has_prefix(after, "{\"return\":{}}\r\n{\"timestamp\":{\"seconds\":"));
	assert_non_null(strstr(after, "\"event\":\"BARE\"}\r\n"));
	assert_non_null(strstr(after, "\"event\":\"FULL\",\"data\":{\"n\":5}}\r\n"));
	close(fd);
	qmp_server_free(s);
}

/* Events are kept for a client that is slow, as long as it is not too many; then it is left, and the next one is served. */
static void test_unread_events(void **state)
{
	struct owner owner = { 0 };
	struct qmp_server *s = start(&owner);
	g_autofree char *all = NULL, *next = NULL;
	int fd = connect_client();
	size_t lines = 0;

	say(fd, NEGOTIATE);
	for (unsigned i = 0; i < 5000; i++)
		qmp_server_event(s, "SLOW", NULL);
	all = hear(fd);
	for (const char *p = all; (p = strstr(p, "SLOW")); p++)
		lines++;
	assert_int_equal(lines, 5000);
	for (unsigned i = 0; i < 100000; i++)
		qmp_server_event(s, "LOST", NULL);
	g_clear_pointer(&all, g_free);
	all = hear(fd);
	assert_true(strlen(all) < 4 << 20);
	assert_int_equal(recv(fd, &(char){ 0 }, 1, 0), 0);
	close(fd);
	fd = connect_client();
	next = hear(fd);
	assert_true(g_str_has_prefix(next, "{\"QMP\":"));
	close(fd);
	qmp_server_free(s);
}

static void test_busy(void **state)
{
	struct owner owner = { .busy = true };
	struct qmp_server *s = start(&owner);
	int fd = connect_client();

	say(fd, NEGOTIATE COUNT COUNT);
	assert_int_equal(owner.runs, 0);
	close(fd);
	turn();
	owner.busy = false;
	turn();
	assert_int_equal(owner.runs, 2);
	qmp_server_free(s);
}

/* A client that has hung up costs nothing while its commands wait; they run when the machine has time for them. */
static void test_busy_and_gone(void **state)
{
	struct owner owner = { .busy = true };
	struct qmp_server *s = start(&owner);
	int fd = connect_client();
	unsigned turns = 0;

	say(fd, NEGOTIATE COUNT COUNT);
	close(fd);
	turn();
	while (turns < ENOUGH && g_main_context_iteration(NULL, FALSE))
		turns++;
	assert_in_range(turns, 0, 5);
	owner.busy = false;
	turn();
	assert_int_equal(owner.runs, 2);
	fd = connect_client();
	say(fd, NEGOTIATE COUNT);
	assert_int_equal(owner.runs, 3);
	close(fd);
	qmp_server_free(s);
}

/* Each turn of the main loop runs one command, so that other sources have theirs. */
static void test_one_a_turn(void **state)
{
	struct owner owner = { 0 };
	struct qmp_server *s = start(&owner);
	int fd = connect_client();

	say(fd, NEGOTIATE);
	assert_true(write(fd, COUNT COUNT COUNT, 3 * strlen(COUNT)) > 0);
	for (unsigned last = 0; owner.runs < 3; last = owner.runs) {
		g_main_context_iteration(NULL, TRUE);
		assert_in_range(owner.runs, last, last + 1);
	}
	close(fd);
	qmp_server_free(s);
}

static void test_socket(void **state)
{
	struct owner owner = { 0 };
	struct qmp_server *s = start(&owner);
	g_autoptr(GError) error = NULL;
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_string_equal(qmp_server_path(s), path);
	assert_null(qmp_server_new(path, &ops, &owner, &error));
	assert_non_null(strstr(error->message, "is in use by another process"));
	qmp_server_free(s);
	assert_int_equal(lstat(path, &st), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_unread_events),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_busy_and_gone),
		cmocka_unit_test(test_one_a_turn),
		cmocka_unit_test(test_socket),
	};
	int failed;

	dir = g_dir_make_tmp("qmp-XXXXXX", NULL);
	path = g_build_filename(dir, "socket", NULL);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	g_rmdir(dir);
	g_free(path);
	g_free(dir);
	return failed;
}
