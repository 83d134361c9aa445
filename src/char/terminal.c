/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw mode sends every key to the guest, Ctrl-C as well. The old settings come back on
 * close, exit(3), a crash, and while the program is stopped; only SIGKILL leaves the terminal
 * raw. Output processing stays on, so that messages of other programs look right.
 */
#include "terminal.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

static int terminal_fd = -1;
static volatile sig_atomic_t is_raw;
static struct termios before, raw;

static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT };

void terminal_restore(void)
{
	if (!is_raw)
		return;
	is_raw = 0;
	tcsetattr(terminal_fd, TCSADRAIN, &before);
}

static void on_crash(int sig)
{
	terminal_restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void on_stop(int sig)
{
	bool was = is_raw;

	terminal_restore();
	raise(SIGSTOP);
	if (was && tcsetattr(terminal_fd, TCSADRAIN, &raw) == 0)
		is_raw = 1;
}

static void set_handlers(void)
{
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER };
	struct sigaction old;

	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++) {
		/* A handler that is there already has its own plans. */
		if (sigaction(crashes[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(crashes[i], &sa, NULL);
	}
	sa.sa_handler = on_stop;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGTSTP, &sa, NULL);
}

void terminal_raw(int fd)
{
	static bool prepared;

	if (tcgetattr(fd, &before) < 0)
		return;
	raw = before;
	raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
	raw.c_cflag = (raw.c_cflag & ~(CSIZE | PARENB)) | CS8;
	raw.c_oflag |= OPOST;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	terminal_fd = fd;
	if (!prepared) {
		prepared = true;
		atexit(terminal_restore);
		set_handlers();
	}
	is_raw = 1;
	tcsetattr(fd, TCSADRAIN, &raw);
}
