/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top: what running domains use, domain by domain: CPU, memory, network, disks, as the difference of two looks at the server's
 * statistics (one call each). At a terminal it goes on until q; otherwise, and with --once, it prints tables, or JSON.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "args.h"
#include "monitor.h"
#include "objects.h"
#include "terminal.h"

enum field { CPU_TIME, NET_RX, NET_TX, DISK_READ, DISK_WRITE, N_RATES };
enum sort { BY_CPU, BY_MEMORY, BY_NETWORK, BY_DISK, BY_NAME, BY_ID };

struct usage {
	GVariant *dom;
	int state, vcpus;
	guint64 memory, memory_max; /* KiB */
	guint64 counters[N_RATES];
	double rates[N_RATES]; /* a second; of CPU_TIME: CPUs */
};

struct look {
	gint64 time; /* µs */
	GPtrArray *all;
};

static void usage_free(void *opaque)
{
	struct usage *u = opaque;

	g_variant_unref(u->dom);
	g_free(u);
}

static void look_clear(struct look *l)
{
	g_clear_pointer(&l->all, g_ptr_array_unref);
}

static guint64 number_of(GVariant *value)
{
	return g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64)   ? g_variant_get_uint64(value)
	       : g_variant_is_of_type(value, G_VARIANT_TYPE_UINT32) ? g_variant_get_uint32(value)
	       : g_variant_is_of_type(value, G_VARIANT_TYPE_INT32)  ? (guint64)g_variant_get_int32(value)
								    : 0;
}

/* "net.0.rx.bytes": its parts are before and behind the number. */
static bool is_counter(const char *name, const char *prefix, const char *suffix)
{
	return g_str_has_prefix(name, prefix) && g_ascii_isdigit(name[strlen(prefix)]) && g_str_has_suffix(name, suffix);
}

static void take(struct usage *u, const char *name, guint64 v)
{
	static const struct {
		const char *prefix, *suffix;
		enum field field;
	} counters[] = { { "net.", ".rx.bytes", NET_RX },
			 { "net.", ".tx.bytes", NET_TX },
			 { "block.", ".rd.bytes", DISK_READ },
			 { "block.", ".wr.bytes", DISK_WRITE } };

	if (strcmp(name, "state.state") == 0)
		u->state = v;
	else if (strcmp(name, "cpu.time") == 0)
		u->counters[CPU_TIME] = v;
	else if (strcmp(name, "vcpu.current") == 0)
		u->vcpus = v;
	else if (strcmp(name, "balloon.current") == 0)
		u->memory = v;
	else if (strcmp(name, "balloon.maximum") == 0)
		u->memory_max = v;
	else
		for (unsigned i = 0; i < G_N_ELEMENTS(counters); i++)
			if (is_counter(name, counters[i].prefix, counters[i].suffix))
				u->counters[counters[i].field] += v;
}

static bool look(struct shell *sh, struct look *ret)
{
	/* VIR_DOMAIN_STATS_…, VIR_CONNECT_GET_ALL_DOMAINS_STATS_… */
	enum { STATE = 1, CPU = 2, BALLOON = 4, VCPU = 8, NET = 16, BLOCK = 32, ACTIVE = 1, NOWAIT = 1 << 29 };
	g_autoptr(GVariant) none = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE(DOMAIN), NULL, 0)), answer = NULL,
			    records = NULL;

	answer = ask(sh, "connect_get_all_domain_stats", "(@a" DOMAIN "uu)", none, STATE | CPU | BALLOON | VCPU | NET | BLOCK,
		     ACTIVE | NOWAIT);
	/* Servers before 4.5.0 wait for a domain that is busy. */
	if (!answer)
		answer = ask(sh, "connect_get_all_domain_stats", "(@a" DOMAIN "uu)", none,
			     STATE | CPU | BALLOON | VCPU | NET | BLOCK, ACTIVE);
	if (!answer)
		return false;
	*ret = (struct look){ g_get_monotonic_time(), g_ptr_array_new_with_free_func(usage_free) };
	records = first_of(answer);
	for (gsize i = 0; i < g_variant_n_children(records); i++) {
		struct usage *u = g_new0(struct usage, 1);
		g_autoptr(GVariant) params = NULL;
		GVariantIter iter;
		GVariant *value;
		const char *name;

		g_variant_get_child(records, i, "(@" DOMAIN "@a(sv))", &u->dom, &params);
		g_variant_iter_init(&iter, params);
		while (g_variant_iter_loop(&iter, "(&sv)", &name, &value))
			take(u, name, number_of(value));
		g_ptr_array_add(ret->all, u);
	}
	return true;
}

static void set_rates(struct look *now, const struct look *before)
{
	double seconds = (now->time - before->time) / (double)G_USEC_PER_SEC;

	for (unsigned i = 0; i < now->all->len; i++) {
		struct usage *u = g_ptr_array_index(now->all, i);

		for (unsigned k = 0; k < before->all->len; k++) {
			struct usage *old = g_ptr_array_index(before->all, k);

			/* The same run of it: its ID says so. */
			if (domain_id(old->dom) != domain_id(u->dom))
				continue;
			for (unsigned f = 0; f < N_RATES; f++)
				if (u->counters[f] >= old->counters[f] && seconds > 0.05)
					u->rates[f] = (u->counters[f] - old->counters[f]) / seconds;
			u->rates[CPU_TIME] /= 1e9;
		}
	}
}

/* ---- order ---- */

static double weight(const struct usage *u, enum sort by)
{
	switch (by) {
	case BY_CPU:
		return u->rates[CPU_TIME];
	case BY_MEMORY:
		return u->memory;
	case BY_NETWORK:
		return u->rates[NET_RX] + u->rates[NET_TX];
	case BY_DISK:
		return u->rates[DISK_READ] + u->rates[DISK_WRITE];
	default:
		return 0;
	}
}

static int compare(const void *a, const void *b, void *opaque)
{
	const struct usage *x = *(struct usage **)a, *y = *(struct usage **)b;
	enum sort by = *(enum sort *)opaque;
	double p = weight(x, by), q = weight(y, by);

	if (p != q)
		return p < q ? 1 : -1;
	if (by == BY_ID)
		return domain_id(x->dom) - domain_id(y->dom);
	return g_ascii_strcasecmp(domain_name(x->dom), domain_name(y->dom));
}

/* ---- as text ---- */

enum { N_COLUMNS = 9 };
static const char *const titles[N_COLUMNS] = { "Id",	   "Name",	"State",  "CPU %",  "Memory",
					       "Net in/s", "Net out/s", "Read/s", "Write/s" };

static char *amount(double bytes)
{
	const char *unit;
	double v = scaled(bytes, &unit);

	return strcmp(unit, "B") == 0 ? g_strdup_printf("%.0f B", v) : g_strdup_printf("%.1f %s", v, unit);
}

static char **cells_of(const struct usage *u)
{
	char **cells = g_new0(char *, N_COLUMNS + 1);

	cells[0] = g_strdup_printf("%d", domain_id(u->dom));
	cells[1] = g_strdup(domain_name(u->dom));
	cells[2] = g_strdup(domain_state_name(u->state));
	cells[3] = g_strdup_printf("%.1f", 100 * u->rates[CPU_TIME]);
	cells[4] = amount(u->memory * 1024.0);
	for (unsigned f = NET_RX; f < N_RATES; f++)
		cells[4 + f] = amount(u->rates[f]);
	return cells;
}

static void say_json(struct shell *sh, const struct look *now)
{
	json_t *list = sh->value ? json_incref(sh->value) : json_array();

	for (unsigned i = 0; i < now->all->len; i++) {
		const struct usage *u = g_ptr_array_index(now->all, i);

		json_array_append_new(list, json_pack("{s:i,s:s,s:s,s:f,s:i,s:I,s:I,s:f,s:f,s:f,s:f}", "id", domain_id(u->dom),
						      "name", domain_name(u->dom), "state", domain_state_name(u->state),
						      "cpu_percent", 100 * u->rates[CPU_TIME], "vcpus", u->vcpus, "memory_kib",
						      (json_int_t)u->memory, "memory_max_kib", (json_int_t)u->memory_max,
						      "net_rx_bytes_per_second", u->rates[NET_RX], "net_tx_bytes_per_second",
						      u->rates[NET_TX], "disk_read_bytes_per_second", u->rates[DISK_READ],
						      "disk_write_bytes_per_second", u->rates[DISK_WRITE]));
	}
	say_value(sh, list);
}

static void say_table(struct shell *sh, const struct look *now)
{
	struct table *t = table_new(titles[0], titles[1], titles[2], titles[3], titles[4], titles[5], titles[6], titles[7],
				    titles[8], NULL);

	for (unsigned i = 0; i < now->all->len; i++) {
		g_autofree char **cells = cells_of(g_ptr_array_index(now->all, i));

		table_add_list(t, cells);
	}
	table_say(sh, t);
}

/* ---- at a terminal ---- */

static struct termios saved_terminal;

static void leave_terminal(void)
{
	static const char end[] = "\033[?25h\033[?1049l";

	tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
	fwrite(end, 1, sizeof(end) - 1, stdout);
	fflush(stdout);
}

static bool enter_terminal(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_terminal) != 0)
		return false;
	raw = saved_terminal;
	/* ISIG too: Ctrl-C ends it in order. */
	raw.c_lflag &= ~(ICANON | ECHO | ISIG);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
	return true;
}

/* A line of the screen, cut at its edge; the rest of it is cleared. */
static void put_line(const char *text, unsigned columns, enum color c)
{
	g_autofree char *cut = g_utf8_validate(text, -1, NULL) ? g_utf8_substring(text, 0, MIN(g_utf8_strlen(text, -1), columns))
							       : g_strndup(text, columns);

	printf("%s%s%s\033[K\r\n", color_begin(c), cut, color_end(c));
}

static char *row_text(char *const *cells)
{
	/* Of a row: the ID, the name, the state, and numbers to the right. */
	return g_strdup_printf("%5s %-24.24s %-11.11s %7s %11s %11s %11s %11s %11s", cells[0], cells[1], cells[2], cells[3],
			       cells[4], cells[5], cells[6], cells[7], cells[8]);
}

static void draw(struct shell *sh, const struct look *now, enum sort by, double delay)
{
	static const char *const orders[] = { "CPU", "memory", "network", "disk", "name", "ID" };
	struct winsize size = { 24, 80 };
	double cpus = 0;
	guint64 memory = 0;
	g_autofree char *head = NULL, *header = row_text((char *const *)titles);
	bool colors = terminal_has_color(STDOUT_FILENO);

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	for (unsigned i = 0; i < now->all->len; i++) {
		const struct usage *u = g_ptr_array_index(now->all, i);

		cpus += u->rates[CPU_TIME];
		memory += u->memory;
	}
	head = g_strdup_printf("%u running, %.1f %% CPU, %.1f GiB memory, by %s, every %.1f s", now->all->len, 100 * cpus,
			       memory / 1048576.0, orders[by], delay);
	fputs("\033[H", stdout);
	put_line(head, size.ws_col, COLOR_NONE);
	put_line("c CPU  m memory  n network  d disk  a name  i ID  + - delay  space now  q quit", size.ws_col,
		 colors ? COLOR_DIM : COLOR_NONE);
	put_line(header, size.ws_col, colors ? COLOR_BOLD : COLOR_NONE);
	for (unsigned i = 0; i < now->all->len && i + 4 < size.ws_row; i++) {
		const struct usage *u = g_ptr_array_index(now->all, i);
		g_auto(GStrv) cells = cells_of(u);
		g_autofree char *text = row_text(cells);
		enum color c = u->state == STATE_RUNNING ? COLOR_NONE : color_of_state(domain_state_name(u->state));

		put_line(text, size.ws_col, colors ? c : COLOR_NONE);
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

/* false: it is over. */
static bool on_key(char key, enum sort *by, double *delay)
{
	static const char keys[] = "cmndai";
	const char *at = key ? strchr(keys, key) : NULL;
	enum { CTRL_C = 3, CTRL_D = 4 };

	if (at)
		*by = at - keys;
	else if (key == '+')
		*delay = MIN(*delay * 2, 60);
	else if (key == '-')
		*delay = MAX(*delay / 2, 0.5);
	return key != 'q' && key != 'Q' && key != CTRL_C && key != CTRL_D;
}

static bool run_screen(struct shell *sh, enum sort by, double delay)
{
	struct look before = {}, now = {};
	bool ok = look(sh, &before), go_on = ok;

	if (!ok || !enter_terminal())
		return ok && shell_error(sh, "standard input is no terminal: use --once");
	while (go_on) {
		struct pollfd fd = { STDIN_FILENO, POLLIN };
		gint64 until = before.time + delay * G_USEC_PER_SEC, left;
		char key = 0;

		ok = look(sh, &now);
		if (!ok)
			break;
		set_rates(&now, &before);
		g_ptr_array_sort_with_data(now.all, compare, &by);
		draw(sh, &now, by, delay);
		left = until - g_get_monotonic_time();
		if (poll(&fd, 1, CLAMP(left / 1000, 50, 60000)) > 0)
			go_on = read(STDIN_FILENO, &key, 1) == 1 && on_key(key, &by, &delay);
		/* Between keys rates are over the whole time since the last round. */
		if (g_get_monotonic_time() >= until) {
			look_clear(&before);
			before = now;
			now.all = NULL;
		}
		look_clear(&now);
	}
	look_clear(&before);
	look_clear(&now);
	leave_terminal();
	return ok;
}

/* ---- for programs ---- */

static bool run_rounds(struct shell *sh, enum sort by, double delay, int rounds)
{
	struct look before = {}, now = {};
	bool ok = look(sh, &before);

	for (int i = 0; ok && (!rounds || i < rounds); i++) {
		g_usleep(delay * G_USEC_PER_SEC);
		ok = look(sh, &now);
		if (!ok)
			break;
		set_rates(&now, &before);
		g_ptr_array_sort_with_data(now.all, compare, &by);
		if (sh->json) {
			say_json(sh, &now);
		} else {
			if (i)
				say(sh, "\n");
			say_table(sh, &now);
			fflush(stdout);
		}
		look_clear(&before);
		before = now;
		now.all = NULL;
	}
	look_clear(&before);
	return ok;
}

bool cmd_top(struct shell *sh, const struct args *a)
{
	static const char *const orders[] = { "cpu", "memory", "network", "disk", "name", "id", NULL };
	const char *order = arg_text(a, "sort");
	int by = order ? word_of(order, orders) : BY_CPU, rounds = 0, with_rounds;
	unsigned delay = 1;

	if (by < 0)
		return shell_error(sh, "--sort takes cpu, memory, network, disk, name or id, not '%s'", order);
	if (arg_uint(sh, a, "delay", &delay) < 0 || (with_rounds = arg_int(sh, a, "count", &rounds)) < 0)
		return false;
	if (!delay || delay > 3600)
		return shell_error(sh, "--delay takes 1 to 3600 seconds");
	if (with_rounds && rounds < 1)
		return shell_error(sh, "--count takes a number from 1");
	if (arg_on(a, "once"))
		rounds = 1;
	if (!rounds && sh->json)
		rounds = 1;
	if (!rounds && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		return run_screen(sh, by, delay);
	return run_rounds(sh, by, delay, rounds);
}
