/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far a command is: with -p a line on standard output that overwrites itself, else one on standard error whenever SIGUSR1
 * has come. img_progress() may be called by any thread and often.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "img.h"

static struct {
	GMutex lock;
	bool running, show;
	double step, printed, now;
} progress;

static volatile sig_atomic_t asked;

static void on_usr1(int signal)
{
	asked = 1;
}

void img_progress_start(bool show, double step)
{
	struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_RESTART};

	progress.show = show;
	progress.running = true;
	progress.step = step;
	progress.printed = -1;
	sigaction(SIGUSR1, &action, NULL);
	img_progress(0);
}

void img_progress(double percent)
{
	if (!progress.running || (!progress.show && !asked))
		return;
	g_mutex_lock(&progress.lock);
	progress.now = MAX(percent, progress.now);
	if (!progress.show && asked) {
		asked = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", progress.now);
	} else if (progress.show && (progress.printed < 0 || progress.now - progress.printed > progress.step ||
				     (progress.now >= 100 && progress.printed < 100))) {
		progress.printed = progress.now;
		printf("    (%3.2f/100%%)\r", progress.now);
		fflush(stdout);
	}
	g_mutex_unlock(&progress.lock);
}

void img_progress_end(void)
{
	if (progress.running && progress.show)
		putchar('\n');
	progress.running = false;
}
