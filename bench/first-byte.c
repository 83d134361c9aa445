/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * first-byte COMMAND...: microseconds from before the process is made until COMMAND has written a byte to its standard output,
 * and the byte; then it is killed. Small, so that making a process costs what it must: Python takes half a millisecond for that.
 * Called by bench/run (start).
 */
#include <spawn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	int fds[2], err;
	char byte;
	double start;
	ssize_t n;
	pid_t pid;

	if (argc < 2 || pipe(fds))
		return 2;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	posix_spawn_file_actions_addclose(&actions, fds[1]);
	start = now();
	err = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
	if (err)
		return 2;
	close(fds[1]);
	n = read(fds[0], &byte, 1);
	printf("%.0f %c\n", now() - start, n == 1 ? byte : '-');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return n != 1;
}
