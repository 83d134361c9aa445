/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles: bytes both ways over each kind, flow control, clients that come and go, and the
 * person's terminal: raw while it is used, as before whatever happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "char.h"
#include "error.h"

static char *dir;

struct guest {
	size_t room;
	GString *got;
	bool quit;
};

static size_t guest_can_receive(void *opaque)
{
	return ((struct guest *)opaque)->room;
}

static void guest_receive(void *opaque, const uint8_t *data, size_t len)
{
	struct guest *g = opaque;

	assert_true(len > 0 && len <= g->room);
	g->room -= len;
	g_string_append_len(g->got, (const char *)data, len);
}

static const struct char_client client = { guest_can_receive, guest_receive };

static void on_quit(void *opaque)
{
	((struct guest *)opaque)->quit = true;
}

static struct chardev *open_guest(const char *spec, struct guest *g, size_t room)
{
	g_autoptr(GError) error = NULL;
	struct chardev *c = char_open(spec, &error);

	if (!c)
		fail_msg("%s", error->message);
	*g = (struct guest){ .room = room, .got = g_string_new(NULL) };
	char_set_quit(c, on_quit, g);
	char_attach(c, &client, g);
	return c;
}

static void close_guest(struct chardev *c, struct guest *g)
{
	char_close(c);
	g_string_free(g->got, TRUE);
}

static void write_text(struct chardev *c, const char *text)
{
	char_write(c, (const uint8_t *)text, strlen(text));
}

/* Runs the loop until the condition holds, or for too long. */
#define UNTIL(condition)                                                    \
	do {                                                                \
		gint64 end_ = g_get_monotonic_time() + 60 * G_USEC_PER_SEC; \
		while (!(condition)) {                                      \
			if (g_get_monotonic_time() > end_)                  \
				fail_msg("not within 60 s: %s", #condition); \
			if (!g_main_context_iteration(NULL, FALSE))         \
				g_usleep(1000);                             \
		}                                                           \
	} while (0)

static void read_exactly(int fd, const char *text)
{
	g_autoptr(GString) got = g_string_new(NULL);
	char b[4096];

	while (got->len < strlen(text)) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		g_main_context_iteration(NULL, FALSE);
		assert_int_equal(poll(&pfd, 1, 60000), 1);
		n = read(fd, b, sizeof(b));
		assert_true(n > 0);
		g_string_append_len(got, b, n);
	}
	assert_string_equal(got->str, text);
}

static void test_specs(void **state)
{
	static const char *const bad[] = { "",	   "tty",	 "stdi", "stdio:x", "file",
					   "file:", "unix",	 "pty:x", ":" };

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		assert_null(char_open(bad[i], &error));
		assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_USAGE));
	}
}

static void test_file(void **state)
{
	g_autofree char *path = g_build_filename(dir, "console.log", NULL);
	g_autofree char *spec = g_strconcat("file:", path, NULL);
	g_autofree char *bad = g_strconcat("file:", dir, "/no/such", NULL);
	g_autofree char *text = NULL;
	g_autoptr(GError) error = NULL;
	struct guest g;
	struct chardev *c;

	assert_true(g_file_set_contents(path, "old content", -1, NULL));
	c = open_guest(spec, &g, 100);
	write_text(c, "hello ");
	write_text(c, "world\n");
	assert_true(char_writable(c));
	close_guest(c, &g);
	assert_true(g_file_get_contents(path, &text, NULL, NULL));
	assert_string_equal(text, "hello world\n");
	assert_null(char_open(bad, &error));
	assert_non_null(strstr(error->message, "No such file or directory"));
}

/* What a full file does not take is lost, and no more than that. */
static void test_file_full(void **state)
{
	g_autofree char *path = g_build_filename(dir, "full.log", NULL);
	g_autofree char *spec = g_strconcat("file:", path, NULL);
	g_autofree char *text = NULL;
	struct rlimit before, limit;
	struct guest g;
	struct chardev *c = open_guest(spec, &g, 100);

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 4, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	write_text(c, "one ");
	write_text(c, "two ");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(c->dropped, 4);
	write_text(c, "three");
	close_guest(c, &g);
	assert_true(g_file_get_contents(path, &text, NULL, NULL));
	assert_string_equal(text, "one three");
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void test_unix(void **state)
{
	g_autofree char *path = g_build_filename(dir, "sock", NULL);
	g_autofree char *spec = g_strconcat("unix:", path, NULL);
	g_autoptr(GError) busy = NULL;
	struct guest g;
	struct chardev *c = open_guest(spec, &g, 3);
	struct stat st;
	int a, b;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	write_text(c, "nobody there");
	assert_int_equal(c->dropped, 12);
	a = connect_to(path);
	b = connect_to(path);
	/* Flow control: three bytes, then the rest. */
	assert_int_equal(write(a, "abcdef", 6), 6);
	UNTIL(g.got->len == 3);
	for (unsigned i = 0; i < 20; i++)
		g_main_context_iteration(NULL, FALSE);
	assert_string_equal(g.got->str, "abc");
	g.room = 100;
	char_resume(c);
	UNTIL(g.got->len == 6);
	write_text(c, "to a");
	read_exactly(a, "to a");
	/* The second client is served when the first one has left. */
	assert_int_equal(write(b, "B", 1), 1);
	close(a);
	UNTIL(g.got->len == 7);
	write_text(c, "to b");
	read_exactly(b, "to b");
	assert_null(char_open(spec, &busy));
	assert_true(g_error_matches(busy, KV_ERROR, KV_ERROR_BUSY));
	close(b);
	close_guest(c, &g);
	assert_int_equal(access(path, F_OK), -1);
}

/* The one who waits cannot be let in, and the loop does not spin for that. */
static void test_unix_no_descriptors(void **state)
{
	enum { MS = 200, TURNS = 100 };
	g_autofree char *path = g_build_filename(dir, "full", NULL);
	g_autofree char *spec = g_strconcat("unix:", path, NULL);
	gint64 until = g_get_monotonic_time() + MS * 1000;
	struct rlimit before, limit;
	struct guest g;
	struct chardev *c = open_guest(spec, &g, 3);
	int other = connect_to(path), lowest = dup(other);
	unsigned turns = 0;

	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = (struct rlimit){ lowest, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (; g_get_monotonic_time() < until; turns++)
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_in_range(turns, 1, TURNS);
	assert_false(char_connected(c));
	UNTIL(char_connected(c));
	close(other);
	close_guest(c, &g);
}

static void test_unix_leftovers(void **state)
{
	g_autofree char *path = g_build_filename(dir, "left", NULL);
	g_autofree char *spec = g_strconcat("unix:", path, NULL);
	g_autofree char *longer = g_strnfill(200, 'x');
	g_autofree char *long_spec = g_strconcat("unix:", longer, NULL);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	g_autoptr(GError) file = NULL, too_long = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct guest g;

	g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd); /* the file stays */
	close_guest(open_guest(spec, &g, 1), &g);
	assert_true(g_file_set_contents(path, "precious", -1, NULL));
	assert_null(char_open(spec, &file));
	assert_non_null(strstr(file->message, "is not a socket"));
	assert_null(char_open(long_spec, &too_long));
	assert_true(g_error_matches(too_long, KV_ERROR, KV_ERROR_USAGE));
}

/* A reader that does not read: nothing blocks, the buffer fills, newer bytes are dropped. */
static void test_slow_reader(void **state)
{
	g_autofree char *path = g_build_filename(dir, "slow", NULL);
	g_autofree char *spec = g_strconcat("unix:", path, NULL);
	g_autofree uint8_t *block = g_malloc(65536);
	struct guest g;
	struct chardev *c = open_guest(spec, &g, 100);
	int fd = connect_to(path);
	size_t sent = 0, got = 0;

	assert_int_equal(write(fd, "!", 1), 1);
	UNTIL(g.got->len == 1); /* connected for certain */
	c->dropped = 0;
	for (unsigned i = 0; i < 65536; i++)
		block[i] = i % 251;
	while (!c->dropped) {
		char_write(c, block, 65536);
		sent += 65536;
		assert_true(sent < 64 << 20);
	}
	assert_false(char_writable(c));
	sent -= c->dropped;
	while (got < sent) {
		uint8_t b[65536];
		ssize_t n;

		g_main_context_iteration(NULL, FALSE);
		n = recv(fd, b, sizeof(b), MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(b[i], block[got++ % 65536]);
	}
	assert_true(char_writable(c));
	close(fd);
	close_guest(c, &g);
}

static void test_pty(void **state)
{
	struct guest g;
	struct chardev *c = open_guest("pty", &g, 100);
	int fd;

	assert_true(g_str_has_prefix(c->where, "/dev/pts/"));
	write_text(c, "lost");
	for (unsigned round = 0; round < 2; round++) {
		fd = open(c->where, O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(fd >= 0);
		tcflush(fd, TCIFLUSH);
		g_string_truncate(g.got, 0);
		assert_int_equal(write(fd, "in\r", 3), 3);
		UNTIL(g.got->len == 3);
		assert_string_equal(g.got->str, "in\r");
		write_text(c, "out\n");
		read_exactly(fd, "out\n");
		close(fd);
		/* Until the hang-up is seen, output counts as taken. */
		UNTIL((c->dropped = 0, write_text(c, "gone"), c->dropped));
	}
	close_guest(c, &g);
}

/* --- stdio, in a child on a terminal of its own --- */

struct terminal {
	int fd; /* the master */
	int peer;
	pid_t pid;
	struct termios before;
};

static void start_on_terminal(struct terminal *t, void (*body)(void))
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_int_equal(grantpt(fd), 0);
	assert_int_equal(unlockpt(fd), 0);
	t->fd = fd;
	t->peer = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(t->peer >= 0);
	assert_int_equal(tcgetattr(t->peer, &t->before), 0);
	assert_true(t->before.c_lflag & ICANON);
	t->pid = fork();
	if (t->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(t->peer, STDIN_FILENO);
		dup2(t->peer, STDOUT_FILENO);
		body();
		_exit(99);
	}
}

static int end_on_terminal(struct terminal *t)
{
	struct termios after;
	int status;

	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	assert_int_equal(tcgetattr(t->peer, &after), 0);
	assert_int_equal(after.c_lflag, t->before.c_lflag);
	assert_int_equal(after.c_iflag, t->before.c_iflag);
	assert_int_equal(after.c_oflag, t->before.c_oflag);
	close(t->fd);
	close(t->peer);
	return status;
}

static bool is_raw(const struct terminal *t)
{
	struct termios now;

	return tcgetattr(t->peer, &now) == 0 && !(now.c_lflag & (ICANON | ECHO | ISIG));
}

/* Gives back what the guest got, in brackets, until Ctrl-A X. */
static void echo_body(void)
{
	static struct guest g;
	struct chardev *c = open_guest("stdio", &g, 1000);
	size_t shown = 0;

	write_text(c, "ready ");
	while (!g.quit) {
		g_main_context_iteration(NULL, TRUE);
		for (; shown < g.got->len; shown++) {
			g_autofree char *s = g_strdup_printf("[%02x]", (uint8_t)g.got->str[shown]);

			write_text(c, s);
		}
	}
	write_text(c, "bye");
	close_guest(c, &g);
	_exit(7);
}

static void test_stdio_keys(void **state)
{
	struct terminal t;
	int status;

	start_on_terminal(&t, echo_body);
	read_exactly(t.fd, "ready ");
	assert_true(is_raw(&t));
	/* Ctrl-C is a key like others; Ctrl-A A is a Ctrl-A; Ctrl-A C is reserved. */
	assert_int_equal(write(t.fd, "a\3\1a\1\1\1cz", 9), 9);
	read_exactly(t.fd, "[61][03][01][01][7a]");
	assert_int_equal(write(t.fd, "\1x", 2), 2);
	read_exactly(t.fd, "bye");
	status = end_on_terminal(&t);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void exit_body(void)
{
	struct guest g;

	write_text(open_guest("stdio", &g, 1), "here");
	exit(3);
}

static void crash_body(void)
{
	struct guest g;

	write_text(open_guest("stdio", &g, 1), "here");
	raise(SIGABRT);
}

static void test_terminal_restored(void **state)
{
	struct terminal t;
	int status;

	start_on_terminal(&t, exit_body);
	read_exactly(t.fd, "here");
	status = end_on_terminal(&t);
	assert_true(WIFEXITED(status));
	start_on_terminal(&t, crash_body);
	read_exactly(t.fd, "here");
	status = end_on_terminal(&t);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_terminal_stopped(void **state)
{
	struct termios now;
	struct terminal t;
	int status;

	start_on_terminal(&t, echo_body);
	read_exactly(t.fd, "ready ");
	kill(t.pid, SIGTSTP);
	assert_int_equal(waitpid(t.pid, &status, WUNTRACED), t.pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(tcgetattr(t.peer, &now), 0);
	assert_int_equal(now.c_lflag, t.before.c_lflag);
	kill(t.pid, SIGCONT);
	UNTIL(is_raw(&t));
	assert_int_equal(write(t.fd, "\1x", 2), 2);
	read_exactly(t.fd, "bye");
	end_on_terminal(&t);
}

static int setup(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	dir = g_dir_make_tmp("kv-char-XXXXXX", NULL);
	return dir ? 0 : -1;
}

static int teardown(void **state)
{
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		g_unlink(path);
	}
	g_dir_close(d);
	g_rmdir(dir);
	g_free(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_specs),	   cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_full),
		cmocka_unit_test(test_unix),	   cmocka_unit_test(test_unix_leftovers),
		cmocka_unit_test(test_unix_no_descriptors),
		cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_pty),
		cmocka_unit_test(test_stdio_keys), cmocka_unit_test(test_terminal_restored),
		cmocka_unit_test(test_terminal_stopped),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
