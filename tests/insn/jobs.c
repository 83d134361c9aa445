/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Long runs of the instruction test: several processes, and how far they are, on standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "diff.h"

#define LINE_EVERY 5 /* seconds, where there is no terminal */
#define BAR 30

static struct {
	struct job *job; /* shared */
	unsigned jobs;
	u64 total;
	double start, shown;
	bool terminal;
} run;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static u64 done(void)
{
	u64 sum = 0;

	for (unsigned n = 0; n < run.jobs; n++)
		sum += __atomic_load_n(&run.job[n].done, __ATOMIC_RELAXED);
	return sum;
}

static void show(double t)
{
	u64 n = done();
	double part = run.total && n < run.total ? (double)n / (double)run.total : 1, spent = t - run.start;
	unsigned left = n ? (unsigned)(spent / part - spent) : 0;
	int filled = (int)(part * BAR);

	run.shown = t;
	if (run.terminal)
		fprintf(stderr, "\r[%.*s%*s] ", filled, "##############################", BAR - filled, "");
	fprintf(stderr, "%llu of %llu cases, %.0f a second, %u:%02u:%02u left%s", (unsigned long long)n,
		(unsigned long long)run.total, (double)n / spent, left / 3600, left / 60 % 60, left % 60,
		run.terminal ? "  " : "\n");
}

static void look(void)
{
	double t = now();

	if (t - run.shown >= (run.terminal ? 0.5 : LINE_EVERY))
		show(t);
}

void jobs_tick(void)
{
	static unsigned count;

	if (run.jobs == 1 && ++count % 512 == 0)
		look();
}

static void killed(pid_t pid, int sig)
{
	for (unsigned n = 0; n < run.jobs; n++) {
		const struct job *j = &run.job[n];

		if (j->pid == pid)
			printf("killed by signal %d: %s%s --only %llu\n", sig, j->row ? "--row " : "--sequences",
			       j->row ? j->row : "", (unsigned long long)j->number);
	}
}

static int wait_all(void)
{
	int status, worst = 0;

	for (unsigned left = run.jobs; left;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (!pid) {
			look();
			usleep(100000);
			continue;
		}
		if (pid < 0)
			return 1;
		left--;
		if (!WIFEXITED(status) || WEXITSTATUS(status) > worst)
			worst = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		if (WIFSIGNALED(status))
			killed(pid, WTERMSIG(status));
	}
	return worst;
}

int jobs_run(unsigned jobs, u64 total, int (*work)(unsigned n, struct job *j), u64 *ret_done)
{
	int status;

	run.job = mmap(NULL, sizeof(*run.job) * jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.job == MAP_FAILED)
		return 1;
	run.jobs = jobs;
	run.total = total;
	run.start = run.shown = now();
	run.terminal = isatty(STDERR_FILENO);
	for (unsigned n = 0; jobs > 1 && n < jobs; n++) {
		pid_t pid = fork();

		if (!pid)
			exit(work(n, &run.job[n]));
		run.job[n].pid = pid;
	}
	status = jobs == 1 ? work(0, &run.job[0]) : wait_all();
	if (run.terminal)
		fputs("\r\033[K", stderr);
	*ret_done = done();
	return status;
}
