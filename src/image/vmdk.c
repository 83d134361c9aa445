/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMware's VMDK: a descriptor, a text that names the image's extents, and the extents: sparse ones (vmdk-sparse.c), flat files
 * and zeroes. The descriptor is in the header of the only extent (monolithicSparse, streamOptimized) or a file of its own
 * (monolithicFlat, twoGbMaxExtent...), whose extents have to be beside it: an image that comes from elsewhere names no file of
 * another directory. Images may stand on others (VMware's snapshots): their parent has to be what it was when they were made,
 * which its CID says, and a grain is written whole, with what the parent has of it. A row of image_formats[].
 *
 * The first write gives the image a new CID, as it is to be; until then no extent is in_place.
 */
#include "vmdk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "log.h"

enum { EXTENTS_MAX = 4096, DESCRIPTOR_FILE_MAX = 1 << 20, NAME_MAX_BYTES = 1023 };
#define NO_PARENT 0xffffffffu

static bool vmdk_probe(const uint8_t *head, size_t len)
{
	static const char descriptor[] = "# Disk DescriptorFile";

	if (len >= 4 && memcmp(head, "KDMV", 4) == 0)
		return true;
	return len >= sizeof(descriptor) && g_ascii_strncasecmp((const char *)head, descriptor, sizeof(descriptor) - 1) == 0;
}

/* ---- the descriptor ---- */

/* The value behind a key at the start of a line; NULL: there is no such one. */
static const char *find_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += strspn(line, "\r\n");
		if (g_ascii_strncasecmp(line, key, len) == 0 && (line[len] == '=' || line[len] == ' ')) {
			line += len + strspn(line + len, " ");
			if (*line == '=')
				return line + 1 + strspn(line + 1, " ");
		}
		if (!*line)
			break;
	}
	return NULL;
}

static bool find_hex(const char *text, const char *key, uint32_t *ret)
{
	const char *value = find_value(text, key);

	return value && sscanf(value, "%8" SCNx32, ret) == 1;
}

static bool read_parent(struct image *img, const char *text, GError **error)
{
	struct vmdk *vmdk = img->state;
	const char *hint = find_value(text, "parentFileNameHint");
	size_t len = hint && *hint == '"' ? strcspn(hint + 1, "\"\r\n") : 0;

	if (!len || len > NAME_MAX_BYTES || hint[len + 1] != '"' || !g_utf8_validate(hint + 1, len, NULL))
		return kv_fail(error, KV_ERROR_INVALID,
			       "vmdk '%s' stands on another image (parentCID %08x), and its descriptor does not say which",
			       img->path, vmdk->parent_cid);
	vmdk->parent = g_strndup(hint + 1, len);
	return true;
}

static bool read_keys(struct image *img, const char *text, GError **error)
{
	struct vmdk *vmdk = img->state;
	const char *type = find_value(text, "createType");
	size_t len;

	vmdk->parent_cid = NO_PARENT;
	find_hex(text, "CID", &vmdk->cid);
	find_hex(text, "parentCID", &vmdk->parent_cid);
	if (!type || *type != '"' || !strchr(type + 1, '"'))
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': its descriptor has no createType; it is damaged", img->path);
	len = strcspn(type + 1, "\"\r\n");
	vmdk->create_type = g_strndup(type + 1, MIN(len, 64));
	if (!g_utf8_validate(vmdk->create_type, -1, NULL))
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': its createType is no text; the descriptor is damaged",
			       img->path);
	return vmdk->parent_cid == NO_PARENT || read_parent(img, text, error);
}

/* Where the digits are that the first write changes. */
static void find_cid(struct vmdk *vmdk, const char *text, uint64_t text_at)
{
	const char *value = find_value(text, "CID");

	vmdk->cid_digits = value ? MIN(strspn(value, "0123456789abcdefABCDEF"), 8) : 0;
	vmdk->cid_at = vmdk->cid_digits ? text_at + (value - text) : 0;
}

/* ---- extents ---- */

static struct vmdk_extent *add_extent(struct image *img, const char *type, enum vmdk_kind kind)
{
	struct vmdk *vmdk = img->state;
	struct vmdk_extent *x;

	vmdk->extents = g_renew(struct vmdk_extent, vmdk->extents, vmdk->n_extents + 1);
	x = &vmdk->extents[vmdk->n_extents++];
	*x = (struct vmdk_extent){ .kind = kind, .type = g_strdup(type), .start = img->size };
	return x;
}

static bool open_only_extent(struct image *img, GError **error)
{
	struct vmdk_extent *x = add_extent(img, "", VMDK_SPARSE);

	x->file = img->file;
	g_mutex_init(&x->blocks.lock);
	if (!vmdk_sparse_open(img, x, error))
		return false;
	img->size = align_up(x->size, VMDK_SECTOR);
	return true;
}

/* A file beside the descriptor. */
static struct image_file *open_beside(struct image *img, const char *name, GError **error)
{
	g_autofree char *path = NULL;

	if (!*name || strchr(name, '/') || strcmp(name, "..") == 0 || strcmp(name, ".") == 0) {
		kv_fail(error, KV_ERROR_UNSUPPORTED,
			"vmdk '%s' names the extent '%s', which is not a file of its own directory; move it there and correct "
			"the descriptor",
			img->path, name);
		return NULL;
	}
	path = image_beside(img->path, name);
	return image_file_open(path, img->readonly, image_file_flags(img), error);
}

/* One line of the descriptor: ACCESS SECTORS TYPE "NAME" [OFFSET]. */
struct extent_line {
	char access[16], type[16], name[512];
	uint64_t sectors, offset;
	bool has_name;
};

static bool parse_extent(struct image *img, const char *line, struct extent_line *ret, GError **error)
{
	int n = sscanf(line, "%15s %" SCNu64 " %15s \"%511[^\"\r\n]\" %" SCNu64, ret->access, &ret->sectors, ret->type, ret->name,
		       &ret->offset);

	ret->has_name = n >= 4;
	if (n < 5)
		ret->offset = 0;
	if (n < 3 || ret->sectors > INT64_MAX / VMDK_SECTOR || ret->offset > INT64_MAX / VMDK_SECTOR ||
	    !g_utf8_validate(ret->type, -1, NULL) || (n >= 4 && !g_utf8_validate(ret->name, -1, NULL)))
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': an extent's line in the descriptor makes no sense",
			       img->path);
	if (strcmp(ret->access, "NOACCESS") == 0 || (strcmp(ret->access, "RDONLY") == 0 && !img->readonly))
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vmdk '%s' has an extent that is %s; %s", img->path, ret->access,
			       ret->access[0] == 'N' ? "that is not supported" : "open it read only");
	return true;
}

static bool kind_of_type(struct image *img, const struct extent_line *l, enum vmdk_kind *ret, GError **error)
{
	static const struct {
		const char *type;
		enum vmdk_kind kind;
	} kinds[] = { { "FLAT", VMDK_FLAT }, { "VMFS", VMDK_FLAT }, { "SPARSE", VMDK_SPARSE }, { "ZERO", VMDK_ZERO } };

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (strcmp(l->type, kinds[i].type) == 0) {
			*ret = kinds[i].kind;
			if (*ret == VMDK_ZERO || l->has_name)
				return true;
			return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': an extent of type %s has no file", img->path,
				       l->type);
		}
	return kv_fail(error, KV_ERROR_UNSUPPORTED,
		       "vmdk '%s' has an extent of type %s; FLAT, VMFS, SPARSE and ZERO are supported", img->path, l->type);
}

static bool open_extent(struct image *img, const struct extent_line *l, GError **error)
{
	struct vmdk *vmdk = img->state;
	struct vmdk_extent *x;
	enum vmdk_kind kind = VMDK_ZERO;

	if (!kind_of_type(img, l, &kind, error))
		return false;
	if (vmdk->n_extents == EXTENTS_MAX || img->size + l->sectors * VMDK_SECTOR > INT64_MAX)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vmdk '%s' has too many extents", img->path);
	x = add_extent(img, l->type, kind);
	x->size = l->sectors * VMDK_SECTOR;
	x->at = l->offset * VMDK_SECTOR;
	g_mutex_init(&x->blocks.lock);
	if (kind != VMDK_ZERO) {
		x->file = open_beside(img, l->name, error);
		x->owns_file = true;
		if (!x->file)
			return false;
	}
	if (kind == VMDK_FLAT && !range_inside(x->at, x->size, image_file_size(x->file)))
		return kv_fail(error, KV_ERROR_INVALID,
			       "vmdk '%s': the extent '%s' has fewer bytes than the descriptor says; it is cut off", img->path,
			       l->name);
	if (kind == VMDK_SPARSE && x->size && !vmdk_sparse_open(img, x, error))
		return false;
	img->size += x->size;
	return true;
}

static bool open_extents(struct image *img, const char *text, GError **error)
{
	static const char *const access[] = { "RW ", "RDONLY ", "NOACCESS " };

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += strspn(line, "\r\n");
		for (size_t i = 0; i < G_N_ELEMENTS(access); i++) {
			struct extent_line l;

			if (strncmp(line, access[i], strlen(access[i])) == 0 &&
			    (!parse_extent(img, line, &l, error) || !open_extent(img, &l, error)))
				return false;
		}
	}
	return true;
}

/* ---- open ---- */

static bool open_descriptor_file(struct image *img, GError **error)
{
	struct vmdk *vmdk = img->state;
	struct vmdk_extent *only;
	uint64_t len = image_file_size(img->file);
	g_autofree char *text = NULL;

	if (len > DESCRIPTOR_FILE_MAX)
		return kv_fail(error, KV_ERROR_INVALID, "vmdk '%s': %" PRIu64 " bytes are too many for a descriptor", img->path,
			       len);
	text = g_malloc0(len + 1);
	if (!foreign_read(img->file, 0, text, len, error) || !read_keys(img, text, error))
		return false;
	find_cid(vmdk, text, 0);
	if (!open_extents(img, text, error))
		return false;
	only = vmdk->n_extents == 1 ? &vmdk->extents[0] : NULL;
	if (only && only->file) { /* now image.c's to close */
		img->data = only->file;
		only->owns_file = false;
	}
	return true;
}

static bool open_one_file(struct image *img, GError **error)
{
	g_autofree char *text = NULL;
	uint64_t at;

	if (!vmdk_sparse_descriptor(img->file, &text, &at, error))
		return false;
	if (!text)
		return kv_fail(error, KV_ERROR_INVALID,
			       "vmdk '%s' is an extent without a descriptor; name the .vmdk that describes it", img->path);
	if (!read_keys(img, text, error))
		return false;
	find_cid(img->state, text, at);
	return open_only_extent(img, error);
}

static void vmdk_free(struct image *img)
{
	struct vmdk *vmdk = g_steal_pointer(&img->state);

	for (unsigned i = 0; i < vmdk->n_extents; i++) {
		struct vmdk_extent *x = &vmdk->extents[i];

		vmdk_sparse_free(x);
		g_mutex_clear(&x->blocks.lock);
		if (x->owns_file)
			image_file_close(x->file);
		g_free(x->type);
	}
	g_free(vmdk->extents);
	g_free(vmdk->create_type);
	g_free(vmdk->parent);
	g_mutex_clear(&vmdk->lock);
	g_free(vmdk);
}

/* Grains that are not here are there. It must not have changed since. */
static bool open_parent(struct image *img, GVariant *options, GError **error)
{
	struct vmdk *vmdk = img->state;
	const struct vmdk *parent;

	if (!vmdk->parent)
		return true;
	if (!image_open_backing(img, vmdk->parent, "vmdk", options, error))
		return false;
	parent = img->backing ? img->backing->state : NULL;
	return !parent || parent->cid == vmdk->parent_cid ||
	       kv_fail(error, KV_ERROR_INVALID,
		       "vmdk '%s' stands on '%s', which was written to since (its CID is %08x, not %08x): what is read would be "
		       "wrong",
		       img->path, img->backing->path, parent->cid, vmdk->parent_cid);
}

static bool vmdk_open(struct image *img, GVariant *options, GError **error)
{
	struct vmdk *vmdk = g_new0(struct vmdk, 1);
	uint8_t head[VMDK_SECTOR];
	bool ok;

	img->state = vmdk;
	img->size = 0;
	g_mutex_init(&vmdk->lock);
	ok = foreign_read(img->file, 0, head, sizeof(head), error);
	if (ok && !vmdk_probe(head, sizeof(head)))
		ok = kv_fail(error, KV_ERROR_INVALID,
			     "'%s' is no vmdk image: it begins with no header and no descriptor; name its format", img->path);
	if (ok)
		ok = memcmp(head, "KDMV", 4) == 0 ? open_one_file(img, error) : open_descriptor_file(img, error);
	if (ok)
		ok = open_parent(img, options, error);
	if (!ok) {
		vmdk_free(img);
		return false;
	}
	img->discard = !img->readonly;
	return true;
}

/* ---- data ---- */

/* The last one that starts there or before; those of no size come first. */
static struct vmdk_extent *extent_at(struct image *img, uint64_t offset)
{
	struct vmdk *vmdk = img->state;
	unsigned first = 0, end = vmdk->n_extents;

	while (end - first > 1) {
		unsigned middle = first + (end - first) / 2;

		if (vmdk->extents[middle].start <= offset)
			first = middle;
		else
			end = middle;
	}
	return &vmdk->extents[first];
}

static int map_extent(struct image *img, struct vmdk_extent *x, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vmdk *vmdk = img->state;

	if (x->kind == VMDK_SPARSE)
		return foreign_blocks_map(img, &x->blocks, offset, len, ret);
	*ret = (struct image_extent){ .kind = IMAGE_HOLE, .len = len };
	if (x->kind == VMDK_FLAT) {
		ret->kind = IMAGE_DATA;
		ret->has_at = x->file == img->data;
		ret->in_place = ret->has_at && __atomic_load_n(&vmdk->cid_new, __ATOMIC_RELAXED);
		ret->at = x->at + offset;
	}
	return 0;
}

static int vmdk_map(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vmdk_extent *x = extent_at(img, offset);
	uint64_t in_extent = offset - x->start;

	return map_extent(img, x, in_extent, MIN(len, x->size - in_extent), ret);
}

static bool vmdk_map_now(struct image *img, uint64_t offset, uint64_t len, struct image_extent *ret)
{
	struct vmdk_extent *x = extent_at(img, offset);
	uint64_t in_extent = offset - x->start;

	len = MIN(len, x->size - in_extent);
	if (x->kind == VMDK_SPARSE && !vmdk_sparse_is_loaded(x, in_extent, &len))
		return false;
	return map_extent(img, x, in_extent, len, ret) == 0;
}

static int vmdk_read_compressed(struct image *img, uint64_t offset, void *buf, uint64_t len)
{
	struct vmdk_extent *x = extent_at(img, offset);
	struct image_extent e;
	int r = vmdk_map(img, offset, len, &e);

	if (r < 0)
		return r;
	if (e.len < len)
		return -EINVAL;
	if (e.kind == IMAGE_COMPRESSED)
		return vmdk_sparse_read_compressed(x, offset - x->start, buf, len);
	if (e.kind == IMAGE_DATA)
		return x->file->type->read(x->file, e.at, buf, len);
	memset(buf, 0, len);
	return 0;
}

/* As many digits as there are. */
static int change_cid(struct image *img)
{
	struct vmdk *vmdk = img->state;
	char digits[9];
	int r = 0;

	if (__atomic_load_n(&vmdk->cid_new, __ATOMIC_ACQUIRE))
		return 0;
	g_mutex_lock(&vmdk->lock);
	if (!vmdk->cid_new) {
		uint32_t cid = g_random_int() >> (32 - 4 * MAX(vmdk->cid_digits, 1));

		cid = cid >= NO_PARENT - 1 ? 1 : cid; /* those mean "none" and "not yet" */
		snprintf(digits, sizeof(digits), "%0*x", (int)vmdk->cid_digits, cid);
		if (vmdk->cid_at)
			r = img->file->type->write(img->file, vmdk->cid_at, digits, vmdk->cid_digits);
		if (!r) {
			vmdk->cid = vmdk->cid_at ? cid : vmdk->cid;
			__atomic_store_n(&vmdk->cid_new, true, __ATOMIC_RELEASE);
		}
	}
	g_mutex_unlock(&vmdk->lock);
	return r;
}

/* A grain that is the parent's becomes ours, with len bytes of the caller's. *ret_done: false, it is not the parent's. */
static int copy_grain(struct image *img, struct vmdk_extent *x, uint64_t offset, const void *buf, uint64_t len, bool *ret_done)
{
	uint64_t index = offset / x->blocks.size, start = index * x->blocks.size;
	struct image_extent e = {0};
	int r;

	g_mutex_lock(&x->blocks.lock);
	r = x->blocks.lookup(img, &x->blocks, index, &e);
	*ret_done = !r && e.kind == IMAGE_HOLE;
	if (*ret_done) {
		g_autofree uint8_t *grain = g_malloc0(x->blocks.size);

		r = image_read_backing(img, x->start + start, grain, MIN(x->blocks.size, x->size - start));
		if (len)
			memcpy(grain + (offset - start), buf, len);
		if (!r)
			r = vmdk_sparse_put_grain(x, index, grain);
	}
	g_mutex_unlock(&x->blocks.lock);
	return r;
}

static int write_over_parent(struct image *img, struct vmdk_extent *x, uint64_t offset, const uint8_t *from, uint64_t len)
{
	int r = 0;

	while (!r && len) {
		uint64_t part = MIN(len, x->blocks.size - offset % x->blocks.size);
		struct image_extent e = {0};
		bool done = false;

		r = x->blocks.lookup(img, &x->blocks, offset / x->blocks.size, &e);
		if (!r && e.kind == IMAGE_HOLE)
			r = copy_grain(img, x, offset, from, part, &done);
		if (!r && !done)
			r = foreign_blocks_write(img, &x->blocks, offset, from, part);
		offset += part;
		from += part;
		len -= part;
	}
	return r;
}

static int write_extent(struct image *img, struct vmdk_extent *x, uint64_t offset, const void *buf, uint64_t len)
{
	if (x->kind == VMDK_ZERO)
		return -EROFS;
	if (x->kind == VMDK_FLAT)
		return x->file->type->write(x->file, x->at + offset, buf, len);
	if (x->compressed)
		return vmdk_sparse_write_compressed(x, offset, buf, len);
	if (img->backing)
		return write_over_parent(img, x, offset, buf, len);
	return foreign_blocks_write(img, &x->blocks, offset, buf, len);
}

static int vmdk_write(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;
	int r = change_cid(img);

	while (!r && len) {
		struct vmdk_extent *x = extent_at(img, offset);
		uint64_t in_extent = offset - x->start, part = MIN(len, x->size - in_extent);

		r = write_extent(img, x, in_extent, from, part);
		offset += part;
		from += part;
		len -= part;
	}
	return r;
}

static int vmdk_populate(struct image *img, uint64_t offset, uint64_t len)
{
	int r = 0;

	while (!r && len) {
		struct vmdk_extent *x = extent_at(img, offset);
		uint64_t in_extent = offset - x->start, part = MIN(len, x->size - in_extent);
		bool done;

		if (x->compressed)
			return -ENOTSUP;
		if (x->kind == VMDK_SPARSE) {
			part = MIN(part, x->blocks.size - in_extent % x->blocks.size);
			r = copy_grain(img, x, in_extent, NULL, 0, &done);
		}
		offset += part;
		len -= part;
	}
	return r;
}

static int vmdk_write_compressed(struct image *img, uint64_t offset, const void *buf, uint64_t len)
{
	struct vmdk_extent *x = extent_at(img, offset);
	int r;

	if (x->kind != VMDK_SPARSE || !x->compressed || !range_inside(offset - x->start, len, x->size))
		return -ENOTSUP;
	r = change_cid(img);
	return r ? r : vmdk_sparse_write_compressed(x, offset - x->start, buf, len);
}

/* Streams are one extent. */
static bool vmdk_compressed_only(struct image *img)
{
	struct vmdk *vmdk = img->state;

	return vmdk->n_extents == 1 && vmdk->extents[0].compressed;
}

static int vmdk_compress(struct image *img, const void *buf, uint64_t len, void *out, uint64_t *ret_len)
{
	struct vmdk *vmdk = img->state;

	if (!vmdk_compressed_only(img))
		return -ENOTSUP;
	*ret_len = vmdk->extents[0].blocks.size;
	return vmdk_sparse_compress(&vmdk->extents[0], buf, len, out, ret_len);
}

static int vmdk_write_packed(struct image *img, uint64_t offset, const void *packed, uint64_t len)
{
	struct vmdk *vmdk = img->state;
	int r = vmdk_compressed_only(img) ? change_cid(img) : -ENOTSUP;

	return r ? r : vmdk_sparse_write_packed(&vmdk->extents[0], offset, packed, len);
}

static int zero_extent(struct image *img, struct vmdk_extent *x, uint64_t offset, uint64_t len, bool may_unmap)
{
	if (x->kind == VMDK_ZERO)
		return 0;
	if (x->kind == VMDK_FLAT)
		return x->file->type->write_zeroes(x->file, x->at + offset, len, may_unmap ? IMAGE_MAY_UNMAP : 0);
	return foreign_blocks_zero(img, &x->blocks, offset, len, may_unmap);
}

/* Where no grain is, the parent's bytes are: zeroes have to be written. */
static int vmdk_write_zeroes(struct image *img, uint64_t offset, uint64_t len, unsigned flags)
{
	int r = img->backing ? -ENOTSUP : change_cid(img);

	while (!r && len) {
		struct vmdk_extent *x = extent_at(img, offset);
		uint64_t in_extent = offset - x->start, part = MIN(len, x->size - in_extent);

		r = zero_extent(img, x, in_extent, part, flags & IMAGE_MAY_UNMAP);
		offset += part;
		len -= part;
	}
	return r;
}

static int vmdk_discard(struct image *img, uint64_t offset, uint64_t len)
{
	return img->backing ? 0 : vmdk_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP);
}

static int vmdk_flush(struct image *img)
{
	struct vmdk *vmdk = img->state;
	int r = img->file->type->flush(img->file);

	for (unsigned i = 0; !r && i < vmdk->n_extents; i++) {
		struct vmdk_extent *x = &vmdk->extents[i];

		if (x->kind == VMDK_SPARSE)
			r = vmdk_sparse_flush(x);
		else if (x->file)
			r = x->file->type->flush(x->file);
	}
	return r;
}

static void vmdk_close(struct image *img)
{
	struct vmdk *vmdk = img->state;
	bool dirty = false;
	int r;

	for (unsigned i = 0; i < vmdk->n_extents; i++)
		dirty |= vmdk->extents[i].dirty;
	r = dirty ? vmdk_flush(img) : 0;
	if (r < 0)
		kv_log_error("vmdk '%s': cannot write its grain tables, new grains are lost: %s", img->path, g_strerror(-r));
	vmdk_free(img);
}

/* ---- info ---- */

static void vmdk_info(struct image *img, GVariantBuilder *members)
{
	struct vmdk *vmdk = img->state;
	GVariantBuilder extents;

	g_variant_builder_init(&extents, G_VARIANT_TYPE("aa{sv}"));
	for (unsigned i = 0; i < vmdk->n_extents; i++) {
		struct vmdk_extent *x = &vmdk->extents[i];
		g_autofree char *name = g_utf8_make_valid(x->file ? x->file->name : "", -1);
		GVariantBuilder e;

		g_variant_builder_init(&e, G_VARIANT_TYPE("a{sv}"));
		if (x->compressed)
			g_variant_builder_add(&e, "{sv}", "compressed", g_variant_new_boolean(TRUE));
		g_variant_builder_add(&e, "{sv}", "virtual-size", g_variant_new_uint64(x->size));
		g_variant_builder_add(&e, "{sv}", "filename", g_variant_new_string(name));
		if (x->kind == VMDK_SPARSE)
			g_variant_builder_add(&e, "{sv}", "cluster-size", g_variant_new_uint64(x->blocks.size));
		g_variant_builder_add(&e, "{sv}", "format", g_variant_new_string(x->type));
		g_variant_builder_add_value(&extents, g_variant_builder_end(&e));
	}
	g_variant_builder_add(members, "{sv}", "cid", g_variant_new_uint64(vmdk->cid));
	g_variant_builder_add(members, "{sv}", "parent-cid", g_variant_new_uint64(vmdk->parent_cid));
	g_variant_builder_add(members, "{sv}", "create-type", g_variant_new_string(vmdk->create_type));
	g_variant_builder_add(members, "{sv}", "extents", g_variant_builder_end(&extents));
}

static bool vmdk_check(struct image *img, unsigned fix, image_report *report, void *opaque, struct image_check *ret,
		       GError **error)
{
	struct vmdk *vmdk = img->state;

	if (fix)
		return kv_fail(error, KV_ERROR_UNSUPPORTED, "vmdk '%s': faults in it are found, but not repaired", img->path);
	for (unsigned i = 0; i < vmdk->n_extents; i++)
		if (vmdk->extents[i].kind == VMDK_SPARSE && vmdk->extents[i].size)
			vmdk_sparse_check(&vmdk->extents[i], report, opaque, ret);
	return true;
}

/* The grain size, if all extents have the same. */
static uint64_t vmdk_cluster_size(struct image *img)
{
	struct vmdk *vmdk = img->state;
	uint64_t size = vmdk->n_extents ? vmdk->extents[0].blocks.size : 0;

	for (unsigned i = 1; i < vmdk->n_extents; i++)
		if (vmdk->extents[i].blocks.size != size)
			return 0;
	return size;
}

const struct image_format image_vmdk = {
	.name = "vmdk",
	.probe = vmdk_probe,
	.open = vmdk_open,
	.close = vmdk_close,
	.map = vmdk_map,
	.map_now = vmdk_map_now,
	.read_compressed = vmdk_read_compressed,
	.write = vmdk_write,
	.write_zeroes = vmdk_write_zeroes,
	.discard = vmdk_discard,
	.populate = vmdk_populate,
	.write_compressed = vmdk_write_compressed,
	.compress = vmdk_compress,
	.write_packed = vmdk_write_packed,
	.compressed_only = vmdk_compressed_only,
	.flush = vmdk_flush,
	.create = vmdk_create,
	.create_options = vmdk_create_options,
	.info = vmdk_info,
	.cluster_size = vmdk_cluster_size,
	.check = vmdk_check,
};
