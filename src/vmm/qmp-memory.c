/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory into a file: memsave and pmemsave, by virtual or physical addresses (QEMU's qapi/machine.json), and all of it,
 * with the processors, for debuggers (qapi/dump.json). See qmp.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "machine.h"
#include "migrate.h"
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
	for (uint64_t done = 0; done < len;) {
		ssize_t n = write(s->fd, page + done, len - done);

		if (n <= 0)
			return kv_fail_errno(s->error, errno, "writing memory to a file");
		done += (uint64_t)n;
	}
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

	if (cpu < 0 || cpu >= machine_vcpus(s.vmm->machine) || !machine_vcpu_present(s.vmm->machine, (unsigned)cpu))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'cpu-index' expects a CPU number");
	s.cpu = (int)cpu;
	return save_to(&s, args, error);
}

JsonNode *qmp_pmemsave(void *opaque, JsonObject *args, GError **error)
{
	struct saving s = { .vmm = opaque, .cpu = -1 };

	return save_to(&s, args, error);
}

/* ---- a core file ---- */

static const char *const formats[] = { "elf", NULL };
static const struct qmp_type format = { .kind = QMP_ENUM, .values = formats };
const struct qmp_member qmp_dump_args[] = {
	{ "paging", &qmp_boolean },
	{ "protocol", &qmp_string },
	{ "format", &format, .optional = true },
	{},
};

static void dump(void *opaque)
{
	struct saving *s = opaque;

	s->ok = machine_dump(s->vmm->machine, s->fd, s->error);
}

/* -1 with the error set. */
static int open_dump(struct vmm *vmm, const char *protocol, GError **error)
{
	const char *file = g_str_has_prefix(protocol, "file:") ? protocol + strlen("file:") : NULL;
	const char *name = g_str_has_prefix(protocol, "fd:") ? protocol + strlen("fd:") : NULL;
	int fd = -1;

	if (!file && !name)
		qmp_fail(error, QMP_ERROR_GENERIC, "Invalid parameter 'protocol'");
	else if (name)
		fd = migrate_take_fd(vmm, name, error);
	else if ((fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		qmp_fail(error, QMP_ERROR_GENERIC, "Could not open '%s': %s", file, g_strerror(errno));
	return fd;
}

JsonNode *qmp_dump_guest_memory(void *opaque, JsonObject *args, GError **error)
{
	struct saving s = { .vmm = opaque, .error = error };

	if (json_object_get_boolean_member(args, "paging"))
		return qmp_fail(error, QMP_ERROR_GENERIC, "paging: memory is told by physical addresses alone");
	s.fd = open_dump(opaque, json_object_get_string_member(args, "protocol"), error);
	if (s.fd < 0)
		return NULL;
	vmm_at_rest(opaque, dump, &s);
	close(s.fd);
	return s.ok ? qmp_nothing() : NULL;
}

JsonNode *qmp_query_dump_capability(void *opaque, JsonObject *args, GError **error)
{
	JsonObject *o = json_object_new();
	JsonArray *list = json_array_new();

	for (unsigned i = 0; formats[i]; i++)
		json_array_add_string_element(list, formats[i]);
	json_object_set_array_member(o, "formats", list);
	return qmp_object(o);
}
