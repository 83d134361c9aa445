/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about storage volumes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ahead.h"
#include "args.h"
#include "event.h"
#include "job.h"
#include "objects.h"
#include "rpc/message.h"

enum { CREATE_PREALLOC = 1, CREATE_REFLINK = 2, CREATE_VALIDATE = 4 };

static const char *type_name(int type)
{
	static const char *const names[] = { "file", "block", "dir", "network", "netdir", "ploop" };

	return type >= 0 && type < (int)G_N_ELEMENTS(names) ? names[type] : "unknown";
}

struct info {
	gint32 type;
	guint64 capacity, allocation;
};

static bool get_info(struct shell *sh, GVariant *vol, unsigned flags, struct info *ret)
{
	g_autoptr(GVariant) answer = flags ? ask(sh, "storage_vol_get_info_flags", "(@" VOLUME "u)", vol, flags)
					   : ask(sh, "storage_vol_get_info", "(@" VOLUME ")", vol);

	if (answer)
		g_variant_get(answer, "(itt)", &ret->type, &ret->capacity, &ret->allocation);
	return answer;
}

static char *size_text(guint64 bytes)
{
	const char *unit;
	double v = scaled(bytes, &unit);

	return g_strdup_printf("%.2f %s", v, unit);
}

static void add_row(struct shell *sh, struct table *t, GVariant *vol, bool details)
{
	g_autofree char *path = ask_text(sh, "storage_vol_get_path", "(@" VOLUME ")", vol), *capacity = NULL, *allocation = NULL;
	struct info i = {};

	if (!details) {
		table_add(t, object_name(vol), path ? path : "-", NULL);
	} else {
		bool known = get_info(sh, vol, 0, &i);

		capacity = known ? size_text(i.capacity) : g_strdup("unknown");
		allocation = known ? size_text(i.allocation) : g_strdup("unknown");
		table_add(t, object_name(vol), path ? path : "-", known ? type_name(i.type) : "unknown", capacity, allocation,
			  NULL);
	}
	forget_error(sh);
}

static bool cmd_vol_list(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool"), answer = NULL;
	g_autoptr(GPtrArray) all = NULL;
	bool details = arg_on(a, "details");
	struct table *t;

	if (!pool)
		return false;
	answer = ask(sh, "storage_pool_list_all_volumes", "(@" POOL "iu)", pool, 1, 0);
	if (!answer)
		return shell_error(sh, "Failed to list volumes");
	all = sorted_objects(answer);
	ask_ahead(sh, all, "storage_vol_get_path", NULL);
	if (details)
		ask_ahead(sh, all, "storage_vol_get_info", NULL);
	t = details ? table_new("Name", "Path", "Type", "Capacity", "Allocation", NULL) : table_new("Name", "Path", NULL);
	for (unsigned i = 0; i < all->len; i++)
		add_row(sh, t, g_ptr_array_index(all, i), details);
	table_say(sh, t);
	return true;
}

static void say_size(struct shell *sh, const char *name, guint64 bytes, bool exact)
{
	g_autofree char *text = exact ? g_strdup_printf("%" G_GUINT64_FORMAT " bytes", bytes) : size_text(bytes);

	say_field(sh, 16, name, "%s", text);
}

static bool cmd_vol_info(struct shell *sh, const struct args *a)
{
	enum { PHYSICAL = 1 };
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");
	bool bytes = arg_on(a, "bytes"), physical = arg_on(a, "physical");
	struct info i;

	if (!vol)
		return false;
	say_field(sh, 16, "Name", "%s", object_name(vol));
	if (!get_info(sh, vol, physical ? PHYSICAL : 0, &i))
		return false;
	say_field(sh, 16, "Type", "%s", type_name(i.type));
	say_size(sh, "Capacity", i.capacity, bytes);
	say_size(sh, physical ? "Physical" : "Allocation", i.allocation, bytes);
	return true;
}

static bool cmd_vol_name(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", NULL);

	if (vol)
		say(sh, "%s\n", object_name(vol));
	return vol;
}

static bool cmd_vol_key(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");
	const char *key;

	if (!vol)
		return false;
	g_variant_get_child(vol, 2, "&s", &key);
	say(sh, "%s\n", key);
	return true;
}

static bool cmd_vol_path(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");
	g_autofree char *path = vol ? ask_text(sh, "storage_vol_get_path", "(@" VOLUME ")", vol) : NULL;

	if (path)
		say(sh, "%s\n", path);
	return path;
}

static bool cmd_vol_pool(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", NULL), answer = NULL, pool = NULL;
	g_autofree char *uuid = NULL;

	if (!vol)
		return false;
	answer = ask(sh, "storage_pool_lookup_by_volume", "(@" VOLUME ")", vol);
	if (!answer)
		return shell_error(sh, "failed to get parent pool");
	pool = first_of(answer);
	uuid = object_uuid(pool);
	say(sh, "%s\n", arg_on(a, "uuid") ? uuid : object_name(pool));
	return true;
}

static bool cmd_vol_dumpxml(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");

	return say_description(sh, a, "storage_vol_get_xml_desc", vol, 0);
}

/* ---- new volumes ---- */

static unsigned create_flags(const struct args *a)
{
	static const struct flag flags[] = { { "prealloc-metadata", CREATE_PREALLOC }, {} };

	return flags_of(a, flags);
}

static bool say_made(struct shell *sh, GVariant *answer, const char *format, const char *from)
{
	g_autoptr(GVariant) vol = first_of(answer);

	if (from)
		say_extra(sh, "Vol %s created from %s %s\n", object_name(vol), format, from);
	else
		say_extra(sh, "Vol %s created\n", object_name(vol));
	return true;
}

static bool cmd_vol_create(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool"), answer = NULL, vol = NULL;
	unsigned flags = create_flags(a) | (arg_on(a, "validate") ? CREATE_VALIDATE : 0);
	const char *path = arg_text(a, "file");
	g_autofree char *xml = pool ? read_file(sh, path) : NULL;

	if (!xml)
		return false;
	answer = ask(sh, "storage_vol_create_xml", "(@" POOL "su)", pool, xml, flags);
	if (!answer)
		return shell_error(sh, "Failed to create vol from %s", path);
	vol = first_of(answer);
	say_extra(sh, "Vol %s created from %s\n", object_name(vol), path);
	return true;
}

static bool cmd_vol_create_from(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool"), from = NULL, answer = NULL;
	unsigned flags =
		create_flags(a) | (arg_on(a, "reflink") ? CREATE_REFLINK : 0) | (arg_on(a, "validate") ? CREATE_VALIDATE : 0);
	const char *path = arg_text(a, "file");
	g_autofree char *xml = NULL;

	from = pool ? find_volume(sh, a, "vol", "inputpool") : NULL;
	xml = from ? read_file(sh, path) : NULL;
	if (!xml)
		return false;
	answer = ask(sh, "storage_vol_create_xml_from", "(@" POOL "s@" VOLUME "u)", pool, xml, from, flags);
	if (!answer)
		return shell_error(sh, "Failed to create vol from %s", path);
	return say_made(sh, answer, "input vol", object_name(from));
}

/* "10G"; false with the error said as virsh says it. */
static bool take_size(struct shell *sh, const char *text, guint64 *ret)
{
	const char *letters = "bkmgtpe", *at;
	char *end;
	guint64 v, base = 1024, by = 1;

	errno = 0;
	v = g_ascii_strtoull(text, &end, 10);
	if (errno || end == text || strchr(text, '-'))
		return shell_error(sh, "Malformed size %s", text);
	at = *end ? strchr(letters, g_ascii_tolower(*end)) : letters;
	if (at && *end && end[1] && g_ascii_strcasecmp(end + 1, "B") == 0)
		base = 1000;
	else if (at && *end && end[1] && g_ascii_strcasecmp(end + 1, "iB") != 0 &&
		 g_ascii_strcasecmp(end, "bytes") != 0)
		at = NULL;
	for (; at && at > letters; at--)
		by *= base;
	if (!at || v > G_MAXUINT64 / by) {
		if (!at)
			rpc_fail(&sh->error, VIR_ERR_INVALID_ARG, "unknown suffix '%s'", end);
		else
			rpc_fail(&sh->error, VIR_ERR_OPERATION_FAILED, "value too large: %s", text);
		return shell_error(sh, "Malformed size %s", text);
	}
	*ret = v * by;
	return true;
}

/* The path of a backing volume, which is one of the pool's or known by key or path. */
static char *backing_path(struct shell *sh, GVariant *pool, const char *name)
{
	g_autoptr(GVariant) answer = ask(sh, "storage_vol_lookup_by_name", "(@" POOL "s)", pool, name), vol = NULL;

	if (!answer)
		answer = ask(sh, "storage_vol_lookup_by_key", "(s)", name);
	if (!answer)
		answer = ask(sh, "storage_vol_lookup_by_path", "(s)", name);
	if (!answer) {
		shell_error(sh, "failed to get vol '%s'", name);
		return NULL;
	}
	vol = first_of(answer);
	return ask_text(sh, "storage_vol_get_path", "(@" VOLUME ")", vol);
}

static char *volume_xml(struct shell *sh, const struct args *a, GVariant *pool)
{
	g_autoptr(GString) out = g_string_new("<volume>\n");
	const char *allocation_text = arg_text(a, "allocation"), *backing = arg_text(a, "backing-vol");
	guint64 capacity, allocation = 0;

	if (!take_size(sh, arg_text(a, "capacity"), &capacity) ||
	    (allocation_text && !take_size(sh, allocation_text, &allocation)))
		return NULL;
	xml_add(out, "  <name>%s</name>\n", arg_text(a, "name"));
	g_string_append_printf(out, "  <capacity>%" G_GUINT64_FORMAT "</capacity>\n", capacity);
	if (allocation_text)
		g_string_append_printf(out, "  <allocation>%" G_GUINT64_FORMAT "</allocation>\n", allocation);
	xml_add(out, "  <target>\n    <format type='%s'/>\n  </target>\n", arg_text(a, "format"));
	if (backing) {
		g_autofree char *path = backing_path(sh, pool, backing);

		if (!path)
			return NULL;
		xml_add(out, "  <backingStore>\n    <path>%s</path>\n", path);
		xml_add(out, "    <format type='%s'/>\n", arg_text(a, "backing-vol-format"));
		g_string_append(out, "  </backingStore>\n");
	}
	g_string_append(out, "</volume>\n");
	return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool cmd_vol_create_as(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) pool = find_pool(sh, a, "pool"), answer = NULL;
	g_autofree char *xml = pool ? volume_xml(sh, a, pool) : NULL;

	if (!xml)
		return false;
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", xml);
		return true;
	}
	answer = ask(sh, "storage_vol_create_xml", "(@" POOL "su)", pool, xml, create_flags(a));
	return answer ? say_made(sh, answer, NULL, NULL) : shell_error(sh, "Failed to create vol %s", arg_text(a, "name"));
}

static bool cmd_vol_clone(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool"), answer = NULL, pool = NULL, made = NULL;
	unsigned flags = create_flags(a) | (arg_on(a, "reflink") ? CREATE_REFLINK : 0);
	g_autofree char *xml = NULL, *new = NULL;
	g_autoptr(node) tree = NULL;
	struct node *name;

	answer = vol ? ask(sh, "storage_pool_lookup_by_volume", "(@" VOLUME ")", vol) : NULL;
	if (!answer)
		return vol ? shell_error(sh, "failed to get parent pool") : false;
	pool = first_of(answer);
	xml = ask_text(sh, "storage_vol_get_xml_desc", "(@" VOLUME "u)", vol, 0);
	tree = xml ? node_parse(xml, &sh->error) : NULL;
	name = node_get(tree, "name");
	if (!name || !name->children)
		return tree ? shell_error(sh, "Failed to allocate XML buffer") : false;
	g_free(((struct node *)g_ptr_array_index(name->children, 0))->text);
	((struct node *)g_ptr_array_index(name->children, 0))->text = g_strdup(arg_text(a, "newname"));
	new = node_write(tree);
	if (arg_on(a, "print-xml")) {
		say(sh, "%s", new);
		return true;
	}
	g_clear_pointer(&answer, g_variant_unref);
	answer = ask(sh, "storage_vol_create_xml_from", "(@" POOL "s@" VOLUME "u)", pool, new, vol, flags);
	if (!answer)
		return shell_error(sh, "Failed to clone vol from %s", object_name(vol));
	made = first_of(answer);
	say_extra(sh, "Vol %s cloned from %s\n", object_name(made), object_name(vol));
	return true;
}

/* ---- what is done with one ---- */

static bool cmd_vol_delete(struct shell *sh, const struct args *a)
{
	enum { WITH_SNAPSHOTS = 2 };
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");

	return vol &&
	       finish(sh,
		      tell(sh, "storage_vol_delete", "(@" VOLUME "u)", vol, arg_on(a, "delete-snapshots") ? WITH_SNAPSHOTS : 0),
		      "Vol %s deleted", "Failed to delete vol %s", arg_text(a, "vol"));
}

static bool cmd_vol_wipe(struct shell *sh, const struct args *a)
{
	static const char *const algorithms[] = { "zero",     "nnsa",	   "dod",	 "bsi",	   "gutmann",
						  "schneier", "pfitzner7", "pfitzner33", "random", "trim" };
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");
	const char *algorithm = arg_text(a, "algorithm");
	unsigned i = 0;
	bool ok;

	if (!vol)
		return false;
	while (algorithm && i < G_N_ELEMENTS(algorithms) && strcmp(algorithms[i], algorithm) != 0)
		i++;
	if (i == G_N_ELEMENTS(algorithms))
		return shell_error(sh, "Unsupported algorithm '%s'", algorithm);
	ok = algorithm ? tell(sh, "storage_vol_wipe_pattern", "(@" VOLUME "uu)", vol, i, 0)
		       : tell(sh, "storage_vol_wipe", "(@" VOLUME "u)", vol, 0);
	return finish(sh, ok, "Vol %s wiped", "Failed to wipe vol %s", arg_text(a, "vol"));
}

static bool cmd_vol_resize(struct shell *sh, const struct args *a)
{
	enum { RESIZE_DELTA = 2 }; /* VIR_STORAGE_VOL_RESIZE_… */
	static const struct flag flags_table[] = { { "allocate", 1 }, { "delta", RESIZE_DELTA }, { "shrink", 4 }, {} };
	g_autoptr(GVariant) vol = find_volume(sh, a, "vol", "pool");
	const char *text = arg_text(a, "capacity");
	unsigned flags = flags_of(a, flags_table);
	bool by = arg_on(a, "delta"), ok;
	guint64 capacity;

	if (!vol)
		return false;
	/* By how much it is to be smaller. */
	if (*text == '-') {
		if (!arg_on(a, "shrink"))
			return shell_error(sh, "negative size requires --shrink");
		by = true;
		flags |= RESIZE_DELTA;
		text++;
	}
	if (!take_size(sh, text, &capacity))
		return false;
	ok = tell(sh, "storage_vol_resize", "(@" VOLUME "tu)", vol, capacity, flags);
	if (!ok)
		return shell_error(
			sh, by ? "Failed to change size of volume '%s' by %s" : "Failed to change size of volume '%s' to %s",
			object_name(vol), text);
	say_extra(sh,
		  by ? "Size of volume '%s' successfully changed by %s\n" : "Size of volume '%s' successfully changed to %s\n",
		  object_name(vol), text);
	return true;
}

/* ---- contents ---- */

static bool take_range(struct shell *sh, const struct args *a, guint64 *offset, guint64 *length)
{
	*offset = *length = 0;
	return arg_u64(sh, a, "offset", offset) >= 0 && arg_u64(sh, a, "length", length) >= 0;
}

static bool write_all(struct shell *sh, int fd, const char *path, const char *data, gssize n)
{
	for (gssize at = 0; at < n;) {
		ssize_t done = write(fd, data + at, n - at);

		if (done < 0)
			return shell_error(sh, "cannot write to %s: %s", path, g_strerror(errno));
		at += done;
	}
	return true;
}

/* All holes that come next. */
static bool skip_holes(struct shell *sh, KvStream *stream, int fd, const char *path)
{
	gint64 hole;

	while ((hole = kv_stream_recv_hole_sync(stream, NULL, &sh->error)) > 0)
		if (lseek(fd, hole, SEEK_CUR) < 0)
			return shell_error(sh, "cannot leave a hole in %s: %s", path, g_strerror(errno));
	return hole == 0;
}

static KvStream *open_contents(struct shell *sh, const char *procedure, const struct args *a, GVariant *vol, guint64 offset,
			       guint64 length)
{
	enum { SPARSE_STREAM = 1 };
	guint32 flags = arg_on(a, "sparse") ? SPARSE_STREAM : 0;

	return kv_stream_open_sync(sh->conn, procedure, g_variant_new("(@" VOLUME "ttu)", vol, offset, length, flags), NULL, NULL,
				   &sh->error);
}

/* total 0: nobody knows. */
static bool pump_out(struct shell *sh, KvStream *stream, int fd, const char *path, bool sparse, guint64 total)
{
	g_autofree char *data = g_malloc(RPC_STREAM_CHUNK);
	struct progress progress = { "Download" };
	guint64 sum = 0;
	gssize n;

	for (;;) {
		if (sparse && !skip_holes(sh, stream, fd, path))
			return false;
		n = kv_stream_recv_sync(stream, data, RPC_STREAM_CHUNK, NULL, &sh->error);
		if (n <= 0)
			break;
		if (!write_all(sh, fd, path, data, n))
			return false;
		sum += n;
		if (total)
			progress_show(&progress, total - MIN(sum, total), total);
	}
	progress_end(&progress, n == 0);
	/* It may end with a hole. */
	if (sparse && n == 0 && ftruncate(fd, lseek(fd, 0, SEEK_CUR)) < 0)
		return shell_error(sh, "cannot resize %s: %s", path, g_strerror(errno));
	return n == 0;
}

/* How much will come; 0: nobody knows. */
static guint64 download_size(struct shell *sh, GVariant *vol, guint64 offset, guint64 length)
{
	enum { PHYSICAL = 1 };
	struct info i = {};

	if (length || !isatty(STDERR_FILENO))
		return length;
	if (!get_info(sh, vol, PHYSICAL, &i) && !get_info(sh, vol, 0, &i))
		i.allocation = 0;
	forget_error(sh);
	return i.allocation > offset ? i.allocation - offset : 0;
}

static bool cmd_vol_download(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = NULL;
	const char *path = arg_text(a, "file"), *name;
	g_autoptr(KvStream) stream = NULL;
	guint64 offset, length;
	bool ok, made = true;
	int fd;

	if (!take_range(sh, a, &offset, &length) || !(vol = find_volume(sh, a, "vol", "pool")))
		return false;
	name = object_name(vol);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST) {
		made = false;
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	}
	if (fd < 0)
		return shell_error(sh, "cannot create %s", path);
	stream = open_contents(sh, "storage_vol_download", a, vol, offset, length);
	if (!stream)
		ok = shell_error(sh, "cannot download from volume %s", name);
	else if (!(ok = pump_out(sh, stream, fd, path, arg_on(a, "sparse"), download_size(sh, vol, offset, length))))
		shell_error(sh, "cannot receive data from volume %s", name);
	else if (!(ok = kv_stream_finish_sync(stream, NULL, &sh->error)))
		shell_error(sh, "cannot close volume %s", name);
	if (close(fd) != 0 && ok)
		ok = shell_error(sh, "cannot close file %s", path);
	if (!ok && made)
		unlink(path);
	return ok;
}

/* At a file's byte `at`: sends the hole that is there, sets *ret_left to the bytes of data behind it; 0: the file's end. */
static bool send_hole(struct shell *sh, KvStream *stream, int fd, const char *path, off_t at, off_t size,
		      off_t *ret_left)
{
	off_t data = lseek(fd, at, SEEK_DATA), end = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

	if (data < 0 && errno == ENXIO)
		data = end = MAX(size, at);
	if (end < 0 || lseek(fd, data, SEEK_SET) < 0)
		return shell_error(sh, "cannot look for holes in %s: %s", path, g_strerror(errno));
	*ret_left = end - data;
	return data == at || kv_stream_send_hole_sync(stream, data - at, NULL, &sh->error);
}

static bool pump_in(struct shell *sh, KvStream *stream, int fd, const char *path, bool sparse)
{
	g_autofree char *data = g_malloc(RPC_STREAM_CHUNK);
	struct progress progress = { "Upload" };
	struct stat st = {};
	off_t left = RPC_STREAM_CHUNK;
	guint64 sum = 0;
	ssize_t n;

	for (;;) {
		if (fstat(fd, &st) < 0)
			return shell_error(sh, "cannot stat %s: %s", path, g_strerror(errno));
		if (sparse && !send_hole(sh, stream, fd, path, lseek(fd, 0, SEEK_CUR), st.st_size, &left))
			return false;
		n = left ? read(fd, data, MIN(left, RPC_STREAM_CHUNK)) : 0;
		if (n <= 0)
			break;
		if (!kv_stream_send_sync(stream, data, n, NULL, &sh->error))
			return false;
		sum += n;
		if (st.st_size)
			progress_show(&progress, st.st_size - MIN(sum, (guint64)st.st_size), st.st_size);
	}
	progress_end(&progress, n == 0);
	return n == 0 || shell_error(sh, "cannot read %s: %s", path, g_strerror(errno));
}

static bool cmd_vol_upload(struct shell *sh, const struct args *a)
{
	g_autoptr(GVariant) vol = NULL;
	const char *path = arg_text(a, "file"), *name;
	g_autoptr(KvStream) stream = NULL;
	guint64 offset, length;
	bool ok;
	int fd;

	if (!take_range(sh, a, &offset, &length) || !(vol = find_volume(sh, a, "vol", "pool")))
		return false;
	name = object_name(vol);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return shell_error(sh, "cannot read %s", path);
	stream = open_contents(sh, "storage_vol_upload", a, vol, offset, length);
	if (!stream)
		ok = shell_error(sh, "cannot upload to volume %s", name);
	else if (!(ok = pump_in(sh, stream, fd, path, arg_on(a, "sparse"))))
		shell_error(sh, "cannot send data to volume %s", name);
	else if (!(ok = kv_stream_finish_sync(stream, NULL, &sh->error)))
		shell_error(sh, "cannot close volume %s", name);
	close(fd);
	return ok;
}

const struct command volume_commands[] = {
	{ "vol-clone", cmd_vol_clone, "<vol> <newname> [--pool <string>] [--prealloc-metadata] [--reflink] [--print-xml]",
	  "a volume with another's contents" },
	{ "vol-create-as", cmd_vol_create_as,
	  "<pool> <name> <capacity> [--allocation <string>] [--format <string>] [--backing-vol <string>] "
	  "[--backing-vol-format <string>] [--prealloc-metadata] [--print-xml]",
	  "a volume from options" },
	{ "vol-create", cmd_vol_create, "<pool> <file> [--prealloc-metadata] [--validate]", "a volume from an XML file" },
	{ "vol-create-from", cmd_vol_create_from,
	  "<pool> <file> <vol> [--inputpool <string>] [--prealloc-metadata] [--reflink] [--validate]",
	  "a volume from an XML file, with another's contents" },
	{ "vol-delete", cmd_vol_delete, "<vol> [--pool <string>] [--delete-snapshots]", "delete a volume" },
	{ "vol-download", cmd_vol_download, "<vol> <file> [--pool <string>] [--offset <number>] [--length <number>] [--sparse]",
	  "a volume's contents into a file" },
	{ "vol-dumpxml", cmd_vol_dumpxml, "<vol> [--pool <string>] [--xpath <string>] [--wrap]",
	  "a volume's description as XML" },
	{ "vol-info", cmd_vol_info, "<vol> [--pool <string>] [--bytes] [--physical]", "the basic facts about a volume" },
	{ "vol-key", cmd_vol_key, "<vol> [--pool <string>]", "a volume's key" },
	{ "vol-list", cmd_vol_list, "<pool> [--details]", "volumes of a pool" },
	{ "vol-name", cmd_vol_name, "<vol>", "a volume's name" },
	{ "vol-path", cmd_vol_path, "<vol> [--pool <string>]", "a volume's path" },
	{ "vol-pool", cmd_vol_pool, "<vol> [--uuid]", "the pool of a volume" },
	{ "vol-resize", cmd_vol_resize, "<vol> <capacity> [--pool <string>] [--allocate] [--delta] [--shrink]",
	  "another size for a volume" },
	{ "vol-upload", cmd_vol_upload, "<vol> <file> [--pool <string>] [--offset <number>] [--length <number>] [--sparse]",
	  "a file's contents into a volume" },
	{ "vol-wipe", cmd_vol_wipe, "<vol> [--pool <string>] [--algorithm <string>]", "overwrite a volume's contents" },
	{},
};
