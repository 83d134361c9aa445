/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For a guest: tells on its standard output which input devices there are, and every event that they report, until somebody
 * presses F12. Run by input.py's guests.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/input.h>

enum { DEVICES = 16, WAIT_MS = 100000 };

static char name[DEVICES][64];

/* Answers the descriptors, for poll(). */
static int open_devices(struct pollfd *fds)
{
	glob_t found;
	int n = 0;

	if (glob("/dev/input/event*", 0, NULL, &found))
		return 0;
	for (size_t i = 0; i < found.gl_pathc && n < DEVICES; i++) {
		struct input_absinfo x = {0};
		int fd = open(found.gl_pathv[i], O_RDWR | O_NONBLOCK);

		if (fd < 0)
			continue;
		ioctl(fd, EVIOCGNAME(sizeof(name[n])), name[n]);
		ioctl(fd, EVIOCGABS(ABS_X), &x);
		printf("device '%s' %d\n", name[n], x.maximum);
		fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	globfree(&found);
	return n;
}

static int show(int fd, const char *from)
{
	struct input_event e;
	int end = 0;

	while (read(fd, &e, sizeof(e)) == sizeof(e)) {
		if (e.type == EV_KEY || e.type == EV_REL || e.type == EV_ABS || e.type == EV_LED)
			printf("event '%s' %d %d %d\n", from, e.type, e.code, e.value);
		/* The kernel tells LEDs itself, but not when they are switched by hand. */
		if (e.type == EV_KEY && e.code == KEY_SCROLLLOCK && e.value == 1) {
			struct input_event led = {.type = EV_LED, .code = LED_SCROLLL, .value = 1};

			if (write(fd, &led, sizeof(led)) != sizeof(led))
				printf("no LED: %s\n", strerror(errno));
		}
		end |= e.type == EV_KEY && e.code == KEY_F12 && !e.value;
	}
	return end;
}

int main(void)
{
	struct pollfd fds[DEVICES];
	int n = open_devices(fds);

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("listening\n");
	while (n && poll(fds, n, WAIT_MS) > 0)
		for (int i = 0; i < n; i++)
			if (show(fds[i].fd, name[i])) {
				printf("the end\n");
				return 0;
			}
	return 1;
}
