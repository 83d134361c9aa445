/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved machines as files: libvirt's header of QEMU's images (virQEMUSaveHeader: magic, version 2, lengths in the host's order),
 * the definition, then the state as kv-vmm writes it to a descriptor. A file whose magic ends with Part was cut short. See kv.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "kv.h"

#define MAGIC	   "LibvirtQemudSave"
#define MAGIC_PART "LibvirtQemudPart"

enum { VERSION = 2, SLACK = 1024, COPY_STEP = 1 << 28 };
enum { SAVE_BYPASS_CACHE = 1, SAVE_RUNNING = 2, SAVE_PAUSED = 4 };

struct header {
	char magic[16];
	guint32 version, data_len, was_running, compressed, cookie;
	guint32 unused[14];
};
G_STATIC_ASSERT(sizeof(struct header) == 92);

/* ---- reading ---- */

static bool read_header(int fd, const char *path, struct header *h, GError **error)
{
	if (pread(fd, h, sizeof(*h), 0) != sizeof(*h))
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "failed to read qemu header");
	if (!memcmp(h->magic, MAGIC_PART, sizeof(h->magic)))
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "save image is incomplete");
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)))
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "image magic is incorrect");
	if (h->version != VERSION)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "image version is not supported (%u > %d)", h->version, VERSION);
	if (h->compressed)
		return rpc_fail(error, VIR_ERR_OPERATION_UNSUPPORTED, "'%s' is compressed, which is not supported", path);
	if (!h->data_len || h->data_len > MODEL_XML_MAX + 1 + SLACK || h->cookie > h->data_len)
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "invalid header data length: %u", h->data_len);
	return true;
}

static int open_image(const char *path, int flags, struct header *h, GError **error)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Failed to open file '%s': %s", path, g_strerror(errno));
	} else if (!read_header(fd, path, h, error)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

bool kv_saved_is_part(const char *path)
{
	char magic[sizeof(((struct header *)0)->magic)];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool whole = fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic);

	if (fd >= 0)
		close(fd);
	return whole && !memcmp(magic, MAGIC_PART, sizeof(magic));
}

char *kv_saved_xml(struct hv *hv, const char *path, GError **error)
{
	struct header h;
	int fd = open_image(path, O_RDONLY, &h, error);
	g_autofree char *xml = NULL;
	guint32 len;
	ssize_t n;

	if (fd < 0)
		return NULL;
	len = h.cookie ? h.cookie : h.data_len;
	xml = g_malloc0((gsize)len + 1);
	n = pread(fd, xml, len, sizeof(h));
	close(fd);
	if (n == (ssize_t)len)
		return g_steal_pointer(&xml);
	rpc_fail(error, VIR_ERR_OPERATION_FAILED, "failed to read domain XML");
	return NULL;
}

int kv_open_saved(const char *path, bool *ret_running, GError **error)
{
	struct header h;
	int fd = open_image(path, O_RDONLY, &h, error);

	if (fd < 0)
		return -1;
	if (lseek(fd, (off_t)sizeof(h) + h.data_len, SEEK_SET) < 0) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "'%s': %s", path, g_strerror(errno));
		close(fd);
		return -1;
	}
	*ret_running = h.was_running;
	return fd;
}

/* ---- writing ---- */

static bool write_all(int fd, const void *data, gsize len, off_t at, GError **error)
{
	for (const char *p = data; len;) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot write the saved state: %s", g_strerror(errno));
		p += n;
		at += n;
		len -= (gsize)n;
	}
	return true;
}

/* Room is left for a definition that is somewhat longer (save-image-edit). */
static bool write_header(int fd, const char *magic, const char *xml, bool running, GError **error)
{
	struct header h = {.version = VERSION, .data_len = (guint32)strlen(xml) + 1 + SLACK, .was_running = running};
	g_autofree char *data = g_malloc0(h.data_len);

	memcpy(h.magic, magic, sizeof(h.magic));
	memcpy(data, xml, strlen(xml));
	return write_all(fd, &h, sizeof(h), 0, error) && write_all(fd, data, h.data_len, sizeof(h), error) &&
	       (lseek(fd, (off_t)sizeof(h) + h.data_len, SEEK_SET) >= 0 ||
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "%s", g_strerror(errno)));
}

static bool fail_copy(GError **error, const char *path)
{
	return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot write '%s': %s", path, g_strerror(errno));
}

/* Shares the blocks where the file system can; otherwise it takes as much room as there is. */
static bool copy_all(int from, int to, const char *path, GError **error)
{
	off_t in = 0, out = 0;
	ssize_t n;

	if (ioctl(to, FICLONE, from) == 0)
		return true;
	do
		n = copy_file_range(from, &in, to, &out, COPY_STEP, 0);
	while (n > 0 || (n < 0 && errno == EINTR));
	return n == 0 || fail_copy(error, path);
}

static bool write_definition(int fd, struct header h, const char *xml, const char *path, GError **error)
{
	g_autofree char *data = g_malloc0(h.data_len);

	memcpy(data, xml, strlen(xml));
	h.cookie = 0;
	return write_all(fd, data, h.data_len, sizeof(h), error) && write_all(fd, &h, sizeof(h), 0, error) &&
	       (fsync(fd) == 0 || fail_copy(error, path));
}

static bool take_place(const char *beside, const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	int fd;

	if (rename(beside, path) < 0)
		return fail_copy(error, path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	return true;
}

/* Beside it and renamed, so that the file has the old definition or the new one whatever happens. */
static bool replace_definition(int from, const struct stat *st, struct header h, const char *xml, const char *path,
			       GError **error)
{
	g_autofree char *beside = g_strconcat(path, ".XXXXXX", NULL);
	int fd = g_mkstemp_full(beside, O_RDWR | O_CLOEXEC, 0600);
	bool ok;

	if (fd < 0)
		return fail_copy(error, path);
	ok = ((fchown(fd, st->st_uid, st->st_gid) == 0 && fchmod(fd, st->st_mode & 07777) == 0) || fail_copy(error, beside)) &&
	     copy_all(from, fd, beside, error) && write_definition(fd, h, xml, beside, error) &&
	     take_place(beside, path, error);
	if (!ok)
		unlink(beside);
	close(fd);
	return ok;
}

/* (waits) As long as a copy of the file takes. Whoever writes a device finds it half written after a crash. */
bool kv_set_saved_xml(struct hv *hv, const char *path, const char *xml, GError **error)
{
	struct header h;
	int fd = open_image(path, O_RDWR, &h, error);
	char *real = realpath(path, NULL);
	struct stat st = {};
	bool ok = false;

	if (fd >= 0 && strlen(xml) + 1 > h.data_len) {
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "new xml too large to fit in file");
	} else if (fd >= 0 && (!real || fstat(fd, &st) < 0)) {
		fail_copy(error, path);
	} else if (fd >= 0) {
		state_release();
		ok = S_ISREG(st.st_mode) ? replace_definition(fd, &st, h, xml, real, error) :
					   write_definition(fd, h, xml, real, error);
		state_acquire();
	}
	if (fd >= 0)
		close(fd);
	free(real);
	return ok;
}

/* ---- saving ---- */

static bool set_speed(struct kv_machine *m, GError **error)
{
	JsonObject *args = json_object_new();

	json_object_set_int_member(args, "max-bandwidth", 0);
	return kv_do(m, "migrate-set-parameters", args, error);
}

bool kv_migrate_to(struct kv_machine *m, int fd, enum kv_job job, GError **error)
{
	g_autoptr(JsonNode) given = kv_ask_fd(m, "getfd", kv_args("fdname", "save", NULL), fd, error);

	return given && set_speed(m, error) && kv_do(m, "migrate", kv_args("uri", "fd:save", NULL), error) &&
	       kv_migration_wait(m, job, false, error);
}

static int make_image(const char *path, GError **error)
{
	g_autofree char *dir = g_path_get_dirname(path);
	int fd;

	g_mkdir_with_parents(dir, 0700);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		rpc_fail(error, VIR_ERR_OPERATION_FAILED, "Failed to create file '%s': %s", path, g_strerror(errno));
	return fd;
}

/* (waits) As long as the disk takes for a guest's memory. */
static bool make_durable(int fd, GError **error)
{
	bool ok;

	state_release();
	ok = fsync(fd) == 0 ||
	     rpc_fail(error, VIR_ERR_OPERATION_FAILED, "cannot make the saved state durable: %s", g_strerror(errno));
	state_acquire();
	return ok;
}

static bool save_to(struct kv_machine *m, int fd, const char *xml, bool running, GError **error)
{
	return write_header(fd, MAGIC_PART, xml, running, error) && kv_migrate_to(m, fd, KV_JOB_SAVE, error) &&
	       write_all(fd, MAGIC, strlen(MAGIC), 0, error) && make_durable(fd, error);
}

void kv_end_saved(struct kv_machine *m)
{
	struct domain *d = m->d;

	m->ending = true;
	kv_kill(m, false);
	if (m->gone)
		return;
	m->gone = true;
	d->own = NULL;
	domain_stopped(d, SHUTOFF_SAVED, STOPPED_SAVED);
	kv_process_clean_up(m);
	kv_machine_unref(m);
}

void kv_remove_output(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		unlink(path);
}

bool kv_save(struct domain *d, const char *path, const char *xml, unsigned flags, GError **error)
{
	struct kv_machine *m = kv_machine_of(d, error);
	bool was_running = d->state == DOMAIN_RUNNING, ok;
	bool running = flags & SAVE_RUNNING || (was_running && !(flags & SAVE_PAUSED));
	g_autofree char *own = m && !xml ? domain_def_format(d->live, FORMAT_SECURE) : NULL;
	g_autoptr(GVariant) stats = NULL;
	int fd;

	if (!m)
		return false;
	xml = xml ? xml : own;
	if (kv_has_block_jobs(m))
		return rpc_fail(error, VIR_ERR_OPERATION_INVALID, "domain has active block job");
	if (strlen(xml) > MODEL_XML_MAX) /* nobody could read it again */
		return rpc_fail(error, VIR_ERR_OPERATION_FAILED, "the definition to save has %zu bytes; the most is %d",
				strlen(xml), MODEL_XML_MAX);
	fd = make_image(path, error);
	if (fd < 0)
		return false;
	kv_machine_ref(m);
	kv_job_started(d);
	m->pause_reason = PAUSED_SAVE;
	ok = (!was_running || kv_do(m, "stop", NULL, error)) && save_to(m, fd, xml, running, error);
	if (!ok)
		kv_remove_output(fd, path);
	close(fd);
	stats = ok && d->job_stats ? g_variant_ref(d->job_stats) : NULL;
	kv_job_started(d);
	if (ok) {
		kv_end_saved(m);
		if (stats)
			kv_job_ended(d, stats);
	} else if (was_running && !m->gone) {
		kv_do(m, "cont", NULL, NULL);
	}
	kv_machine_unref(m);
	return ok;
}
