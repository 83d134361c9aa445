/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of a machine: in a session of its own and nobody's child (GLib forks twice), so that it lives on when the daemon
 * ends, and is the same to us before and after. A number of a process can be another's later; its start time tells. See kv.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kv.h"
#include "log.h"

enum { STEP_MS = 5, TAIL = 4096, EXTRA_FD = 3 };

/* ---- in /proc ---- */

/* The 22nd field of /proc/PID/stat (proc(5)); 0: there is no such process. A zombie is none. */
static guint64 start_time(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *text = NULL;
	const char *rest;
	char state;
	guint64 ticks;

	if (!g_file_get_contents(path, &text, NULL, NULL) || !(rest = strrchr(text, ')')))
		return 0;
	if (sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" G_GUINT64_FORMAT,
		   &state, &ticks) != 2 ||
	    state == 'Z' || state == 'X')
		return 0;
	return ticks;
}

bool kv_process_is_alive(const struct kv_machine *m)
{
	return m->pid > 1 && start_time(m->pid) == m->started && m->started;
}

/* By a descriptor of the process, so that the signal goes to nobody else (pidfd_open(2)). */
void kv_process_kill(const struct kv_machine *m, int signal)
{
	int fd = m->pid > 1 ? (int)syscall(SYS_pidfd_open, m->pid, 0) : -1;

	if (fd < 0)
		return;
	if (kv_process_is_alive(m) && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0)
		kv_log_warn("process %d: %s", (int)m->pid, g_strerror(errno));
	close(fd);
}

/* The lock is free meanwhile. */
static bool rest(const struct kv_machine *m, int ms)
{
	struct pollfd p = {.fd = m->pid > 1 ? (int)syscall(SYS_pidfd_open, m->pid, 0) : -1, .events = POLLIN};

	state_release();
	poll(&p, p.fd >= 0, ms);
	if (p.fd >= 0)
		close(p.fd);
	state_acquire();
	return kv_process_is_alive(m);
}

bool kv_process_wait_end(const struct kv_machine *m, gint64 until)
{
	while (kv_process_is_alive(m)) {
		gint64 left = (until - g_get_monotonic_time()) / 1000;

		if (left <= 0)
			return false;
		rest(m, (int)MIN(left + 1, 1000));
	}
	return true;
}

/* ---- its start ---- */

static void own_session(gpointer policy)
{
	setsid();
	kv_set_policy(policy);
}

static int open_log(const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	int fd;

	if (g_mkdir_with_parents(dir, 0700) < 0) {
		kv_fail_errno(error, errno, "cannot make the folder '%s'", dir);
		return -1;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		kv_fail_errno(error, errno, "cannot open the log '%s'", path);
	return fd;
}

/* So that a reader of the log knows what was asked for. */
static void note_start(int fd, char **argv)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *when = g_date_time_format(now, "%Y-%m-%d %H:%M:%S+0000");
	GString *line = g_string_new(when);

	g_string_append(line, ": starting up\n");
	for (char **word = argv; *word; word++) {
		g_autofree char *quoted = g_shell_quote(*word);

		g_string_append_printf(line, "%s%s", quoted, word[1] ? " \\\n  " : "\n");
	}
	if (write(fd, line->str, line->len) < 0)
		kv_log_warn("the log of a machine: %s", g_strerror(errno));
	g_string_free(line, TRUE);
}

static bool spawn(struct kv_machine *m, char **argv, int log, int extra, struct kv_policy *policy, GError **error)
{
	const int sources[] = {extra}, targets[] = {EXTRA_FD};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	GPid pid = 0;
	bool ok;

	ok = g_spawn_async_with_pipes_and_fds("/", (const char *const *)argv, NULL, G_SPAWN_DEFAULT, own_session, policy, null,
					      log, log, sources, targets, extra >= 0, &pid, NULL, NULL, NULL, error);
	if (null >= 0)
		close(null);
	m->pid = ok ? pid : 0;
	m->started = ok ? start_time(pid) : 0;
	return ok;
}

bool kv_process_start(struct kv_machine *m, char **argv, int extra, GError **error)
{
	struct kv_policy policy;
	struct stat st;
	bool ok;
	int log;

	if (!kv_memory_policy(domain_def_root(m->d->live), &policy, error))
		return false;
	log = open_log(m->log, error);
	if (log < 0)
		return false;
	note_start(log, argv);
	m->log_at = fstat(log, &st) == 0 ? st.st_size : 0;
	ok = spawn(m, argv, log, extra, &policy, error);
	close(log);
	return ok;
}

/* ---- its monitor ---- */

/* The last line that it wrote since it was started, without its name in front. */
static char *last_words(const struct kv_machine *m)
{
	int fd = open(m->log, O_RDONLY | O_CLOEXEC);
	g_autofree char *text = g_malloc0(TAIL + 1);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), from = MAX(m->log_at, end - TAIL);
	ssize_t n = end > from ? pread(fd, text, (size_t)(end - from), from) : 0;
	char *line, *colon;

	if (fd >= 0)
		close(fd);
	text[MAX(n, 0)] = 0;
	g_strchomp(text);
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	colon = g_str_has_prefix(line, "kv-vmm") ? strstr(line, ": ") : NULL;
	return g_utf8_make_valid(*line ? colon ? colon + 2 : line : "it said nothing", -1);
}

static bool fail_ended(const struct kv_machine *m, GError **error)
{
	g_autofree char *words = last_words(m);

	return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "process exited while connecting to monitor: %s", words);
}

/* The client takes what is read from the domain's machine, which stays while we wait. */
static bool greet(struct kv_machine *m, gint64 until, GError **error)
{
	g_autoptr(GError) why = NULL;

	if (qmp_client_negotiate(m->qmp, until, &why))
		return true;
	if (!kv_process_wait_end(m, g_get_monotonic_time() + G_USEC_PER_SEC))
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "cannot talk to the machine's monitor: %s", why->message);
	return fail_ended(m, error);
}

bool kv_process_connect(struct kv_machine *m, gint64 until, gint64 greeted, GError **error)
{
	g_autofree char *path = g_build_filename(m->run, "monitor", NULL);

	do {
		g_autoptr(GError) why = NULL;
		struct qmp_client *c = qmp_client_connect(path, NULL, &kv_client_ops, m, &why);

		if (c) {
			qmp_client_unref(m->qmp); /* the one that was lost */
			m->qmp = c;
			return greet(m, greeted, error);
		}
		/* Those before us, who have gone meanwhile, wait to be let in: so do we, as long as for a greeting. */
		if (!greeted && g_error_matches(why, KV_ERROR, KV_ERROR_BUSY))
			continue;
		if (g_get_monotonic_time() > until)
			return rpc_fail(error, VIR_ERR_OPERATION_TIMEOUT, "the machine does not start: %s", why->message);
	} while (rest(m, STEP_MS));
	return fail_ended(m, error);
}

void kv_process_clean_up(struct kv_machine *m)
{
	GDir *dir = g_dir_open(m->run, 0, NULL);
	const char *name;

	kv_tune_end(m);
	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(m->run, name, NULL);

		unlink(path);
	}
	if (dir)
		g_dir_close(dir);
	rmdir(m->run);
}
