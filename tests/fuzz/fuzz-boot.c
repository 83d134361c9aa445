/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kernel files, bzImage and ELF, through all of boot.c and its two protocols, with memory but
 * without a CPU: what loads well ends in the error that registers cannot be set.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	g_autofree struct machine *m = g_new0(struct machine, 1);
	g_autoptr(GError) error = NULL;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	m->core.vm_fd = -1;
	m->core.mem = mem_new(-1);
	m->memory = RAM;
	m->cpus = 1;
	m->topology = (struct cpu_topology){1, 1, 1};
	m->vcpu[0].m = m;
	m->vcpu[0].fd = -1;
	m->kernel = path;
	m->append = (char *)"console=ttyS0";
	if (!mem_add_ram(m->core.mem, 0, RAM, &error) || boot_load(m, &error) || !error)
		abort();
	g_clear_pointer(&m->ahead, boot_ahead_free);
	mem_free(m->core.mem);
	close(fd);
	return 0;
}
