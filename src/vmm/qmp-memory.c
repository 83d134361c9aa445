/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memsave and pmemsave: guest memory into a file, by virtual or physical addresses (QEMU's qapi/machine.json). See qmp.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "error.h"
#include "machine.h"
#include "qmp.h"
#include "query.h"
#include "vmm.h"

enum { PAGE = 4096 };
#define ROOM (4ull << 30) /* addresses where there is none */

const struct qmp_member qmp_memsave_args[] = {
	{ "val", &qmp_integer },
	{ "size", &qmp_integer },
	{ "filename", &qmp_string },
	{ "cpu-index", &qmp_integer, .optional = true },
	{},
};
const struct qmp_member qmp_pmemsave_args[] = {
	{ "val", &qmp_integer },
	{ "size", &qmp_integer },
	{ "filename", &qmp_string },
	{},
};

struct saving {
	struct vmm *vmm;
	int cpu; /* whose virtual addresses; -1: they are physical */
	uint64_t at, left;
	int fd;
	GError **error;
	bool ok;
};

static bool save_piece(struct saving *s, uint64_t len)
{
	uint8_t page[PAGE];
	uint64_t gpa = s->at;

	if (s->cpu >= 0 && !machine_translate(s->vmm->machine, (unsigned)s->cpu, s->at, &gpa))
		return qmp_fail(s->error, QMP_ERROR_GENERIC,
				"Invalid addr 0x%016" G_GINT64_MODIFIER "x/size %" G_GUINT64_FORMAT " specified", s->at, s->left);
	machine_read(s->vmm->machine, gpa, page, len);
	if (write(s->fd, page, len) != (ssize_t)len)
		return kv_fail_errno(s->error, errno, "writing memory to a file");
	return true;
}

static void save(void *opaque)
{
	struct saving *s = opaque;

	for (s->ok = true; s->ok && s->left;) {
		uint64_t len = MIN(s->left, PAGE - s->at % PAGE);

		s->ok = save_piece(s, len);
		s->at += len;
		s->left -= len;
	}
}

/* A processor tells where its addresses are when it rests. */
static JsonNode *save_to(struct saving *s, JsonObject *args, GError **error)
{
	const char *file = json_object_get_string_member(args, "filename");

	s->at = (uint64_t)json_object_get_int_member(args, "val");
	s->left = (uint64_t)json_object_get_int_member(args, "size");
	s->error = error;
	if (s->left > machine_memory(s->vmm->machine) + ROOM)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'size' expects a size that the guest's memory has");
	s->fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (s->fd < 0)
		return qmp_fail(error, QMP_ERROR_GENERIC, "Could not open '%s': %s", file, g_strerror(errno));
	if (s->cpu >= 0)
		vmm_at_rest(s->vmm, save, s);
	else
		save(s);
	close(s->fd);
	return s->ok ? qmp_nothing() : NULL;
}

JsonNode *qmp_memsave(void *opaque, JsonObject *args, GError **error)
{
	struct saving s = { .vmm = opaque };
	gint64 cpu = json_object_get_int_member_with_default(args, "cpu-index", 0);

	if (cpu < 0 || cpu >= machine_vcpus(s.vmm->machine))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'cpu-index' expects a CPU number");
	s.cpu = (int)cpu;
	return save_to(&s, args, error);
}

JsonNode *qmp_pmemsave(void *opaque, JsonObject *args, GError **error)
{
	struct saving s = { .vmm = opaque, .cpu = -1 };

	return save_to(&s, args, error);
}
