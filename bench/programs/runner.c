/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the benchmark's items in order, in a guest as its init (--guest) and natively as process 1 of a namespace, so that both
 * sides are timed by the same code. An item is a line NAME CLASS COMMAND of the file "items" in this program's directory. For
 * each it prints "@start NAME", runs COMMAND in a shell with its output to a file in /tmp, and prints
 * "@bench NAME SECONDS CHECKSUM CPU-SECONDS": CLOCK_MONOTONIC around the command, a sum of what it wrote (instead of it
 * "status-N" if it failed), and what the kernel charged to its processes. Started by bench/kvbench/programs.py, which takes
 * the time of the lines too. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT "/tmp/output"

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double children_cpu(void)
{
	struct rusage usage;
	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Out to the other side of the serial line, before the clock runs. */
static void say(const char *line)
{
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		_exit(1);
	tcdrain(STDOUT_FILENO);
}

static int run(const char *command)
{
	pid_t child = fork();
	if (child == 0) {
		int in = open("/dev/null", O_RDONLY), out = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
			_exit(126);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	int status = -1;
	while (waitpid(-1, &status, 0) != child)
		continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* FNV-1a of the item's output. */
static uint64_t output_sum(void)
{
	static unsigned char buffer[65536];
	uint64_t sum = 0xcbf29ce484222325;
	int file = open(OUTPUT, O_RDONLY);
	ssize_t size;
	while ((size = read(file, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < size; i++)
			sum = (sum ^ buffer[i]) * 0x100000001b3;
	close(file);
	return sum;
}

static void run_item(char *line)
{
	char text[300];
	const char *name = strsep(&line, " ");
	strsep(&line, " ");
	if (!line)
		return;
	snprintf(text, sizeof(text), "@start %s\n", name);
	say(text);
	double start = now(), cpu = children_cpu();
	int status = run(line);
	double seconds = now() - start;
	cpu = children_cpu() - cpu;
	char sum[20];
	if (status)
		snprintf(sum, sizeof(sum), "status-%d", status);
	else
		snprintf(sum, sizeof(sum), "%016llx", (unsigned long long)output_sum());
	snprintf(text, sizeof(text), "@bench %s %.4f %s %.4f\n", name, seconds, sum, cpu);
	say(text);
}

int main(int argc, char **argv)
{
	bool guest = argc > 1 && strcmp(argv[1], "--guest") == 0;
	char line[2000];
	const char *clean[] = {"PATH=/usr/bin:/usr/sbin", "LC_ALL=C", "HOME=/tmp", NULL};

	mount("proc", "/proc", "proc", 0, NULL); /* there already, in some guests */
	if (mount("tmpfs", "/tmp", "tmpfs", 0, NULL) || chdir(dirname(argv[0])))
		say("@error no /tmp or no directory of the runner\n");
	clearenv();
	for (int i = 0; clean[i]; i++)
		putenv((char *)clean[i]);
	FILE *items = fopen("items", "re");
	if (!items)
		say("@error no items\n");
	while (items && fgets(line, sizeof(line), items)) {
		line[strcspn(line, "\n")] = 0;
		run_item(line);
	}
	say("@end\n");
	if (guest)
		reboot(RB_POWER_OFF);
	return 0;
}
