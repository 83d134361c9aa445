/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connecting: to the address that has somebody, not the first alone; step by step and waiting; and when nobody is there. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "dial.h"
#include "error.h"

/* Without a host a name's addresses are ::1 and 127.0.0.1: a port of one of them. */
static int open_port(int family, bool listens, char **ret_port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&four : (struct sockaddr *)&six;
	socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, sa, len) || (listens && listen(fd, 1)) || getsockname(fd, sa, &len)) {
		print_message("this machine has no loopback address of that kind\n");
		_exit(77);
	}
	*ret_port = g_strdup_printf("%u", ntohs(family == AF_INET ? four.sin_port : six.sin6_port));
	return fd;
}

static bool never(void *opaque)
{
	return false;
}

static bool at_once(void *opaque)
{
	return true;
}

static struct kv_dial *dial_port(const char *port)
{
	g_autoptr(GError) error = NULL;
	struct kv_dial *d = kv_dial_tcp(NULL, port, &error);

	assert_non_null(d);
	return d;
}

static void test_wait(void **state)
{
	g_autofree char *port = NULL;
	int server = open_port(AF_INET, true, &port), fd, client;
	struct kv_dial *d = dial_port(port);

	fd = kv_dial_wait(d, never, NULL);
	assert_true(fd >= 0);
	client = accept(server, NULL, NULL);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_true(client >= 0);
	kv_dial_free(d);
	close(client);
	close(fd);
	close(server);
}

static void test_steps(void **state)
{
	g_autofree char *port = NULL;
	int server = open_port(AF_INET, true, &port), fd, tries = 0, err = -1;
	struct kv_dial *d = dial_port(port);
	bool under_way;

	while (err && (fd = kv_dial_next(d, &under_way)) >= 0) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		tries++;
		assert_int_equal(poll(&p, 1, -1), 1);
		err = kv_dial_result(d, fd);
		close(fd);
	}
	assert_int_equal(err, 0);
	assert_in_range(tries, 1, 2);
	kv_dial_free(d);
	close(server);
}

static void test_nobody(void **state)
{
	g_autofree char *port = NULL;
	g_autoptr(GError) error = NULL, long_error = NULL;
	g_autofree char *long_path = g_strnfill(200, 'x');
	int holder = open_port(AF_INET, false, &port);
	struct kv_dial *d = dial_port(port);

	assert_int_equal(kv_dial_wait(d, never, NULL), -1);
	assert_int_equal(errno, ECONNREFUSED);
	kv_dial_free(d);
	close(holder);
	d = kv_dial_unix("/no/such/socket", &error);
	assert_int_equal(kv_dial_wait(d, never, NULL), -1);
	assert_int_equal(errno, ENOENT);
	kv_dial_free(d);
	assert_null(kv_dial_tcp("127.0.0.1", "nosuchport", &error));
	assert_true(g_str_has_prefix(error->message, "address resolution failed for 127.0.0.1:nosuchport: "));
	assert_null(kv_dial_unix(long_path, &long_error));
	assert_non_null(long_error);
}

/* Linux does not answer for a server whose queue is full. */
static void test_give_up(void **state)
{
	g_autofree char *port = NULL;
	int server = open_port(AF_INET, false, &port), fds[8], n = 0;
	struct kv_dial *d = NULL;
	int err = 0;

	assert_int_equal(listen(server, 0), 0);
	while (n < 8 && !err) {
		kv_dial_free(d);
		d = dial_port(port);
		fds[n] = kv_dial_wait(d, at_once, NULL);
		if (fds[n] < 0)
			err = errno;
		else
			n++;
	}
	assert_int_equal(err, ECANCELED);
	kv_dial_free(d);
	while (n)
		close(fds[--n]);
	close(server);
}

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	signals++;
}

static bool after_signals(void *opaque)
{
	return signals >= 3;
}

/* A signal is no answer: nobody has taken the connection. */
static void test_signal(void **state)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, off = {};
	struct sigaction action = { .sa_handler = on_signal };
	g_autofree char *port = NULL;
	int server = open_port(AF_INET, false, &port), fds[8], n = 0;
	struct kv_dial *d = dial_port(port);

	assert_int_equal(listen(server, 0), 0);
	while (n < 8 && (fds[n] = kv_dial_wait(d, at_once, NULL)) >= 0) {
		n++;
		kv_dial_free(d);
		d = dial_port(port);
	}
	assert_in_range(n, 1, 7);
	kv_dial_free(d);
	d = dial_port(port);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(kv_dial_wait(d, after_signals, NULL), -1);
	assert_int_equal(errno, ECANCELED);
	setitimer(ITIMER_REAL, &off, NULL);
	kv_dial_free(d);
	while (n)
		close(fds[--n]);
	close(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_give_up), cmocka_unit_test(test_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
