/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server, byte by byte: what it answers to options and requests, right and wrong ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "file-nbd.h"
#include "image-rig.h"
#include "listen.h"
#include "proto.h"
#include "nbd-server.h"

enum {
	DISK = 4 << 20,
	DATA_AT = 1 << 20, /* half a MiB of data; else holes */
	DATA = 512 << 10,
	REPLY_MAX = 33 << 20,
};

struct chunk {
	unsigned flags, type;
	uint32_t len;
	uint8_t *data;
};

static struct image *img;
static struct nbd_server *server;
static struct nbd_export *export_a;
static uint8_t pattern[DATA];
static unsigned left_count;

static void on_left(void *opaque, unsigned n, bool used)
{
	left_count += used;
}

static int every_other(void *opaque, uint64_t offset, uint64_t len, bool *ret_dirty, uint64_t *ret_len)
{
	*ret_dirty = offset / 65536 % 2;
	*ret_len = MIN(len, 65536 - offset % 65536);
	return 0;
}

static struct image *open_image(const char *path, bool readonly)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'raw'>, 'readonly': <%s>}", path,
						readonly ? "true" : "false");
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));
	GError *error = NULL;
	struct image *i = image_open(options, &error);

	if (!i)
		fail_msg("%s", error->message);
	return i;
}

static struct nbd_server *start(unsigned max)
{
	const struct nbd_server_options o = { .max_connections = max, .left = on_left };

	return nbd_server_new(NULL, &o, NULL);
}

static int setup(void **state)
{
	g_autofree char *path = rig_path("disk");
	static const struct nbd_bitmap bitmap = { "b0", every_other, NULL };
	const struct nbd_export_options o = { .name = "a", .description = "the first", .writable = true, .allocation_depth = true,
					      .bitmaps = &bitmap, .n_bitmaps = 1 };
	const struct nbd_export_options readonly = { .name = "ro" };

	assert_true(g_file_set_contents(path, "", 0, NULL));
	assert_int_equal(truncate(path, DISK), 0);
	img = open_image(path, false);
	for (unsigned i = 0; i < DATA; i++)
		pattern[i] = i * 7 + i / 512 + 1;
	assert_int_equal(image_write(img, DATA_AT, pattern, DATA), 0);
	left_count = 0;
	server = start(0);
	export_a = nbd_export_add(server, img, &o, NULL);
	assert_non_null(export_a);
	assert_non_null(nbd_export_add(server, img, &readonly, NULL));
	return 0;
}

static int teardown(void **state)
{
	nbd_server_free(server);
	image_close(img);
	return 0;
}

/* ---- a client ---- */

static int connect_to_server(void)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	nbd_server_add(server, ends[1]);
	return ends[0];
}

static void send_all(int fd, const void *data, size_t len)
{
	if (len) /* nothing fails as well when the other side has gone */
		assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static void recv_all(int fd, void *data, size_t len)
{
	/* MSG_WAITALL ends where a sender has waited. */
	for (ssize_t n; len; len -= n, data = (char *)data + n) {
		n = recv(fd, data, len, 0);
		assert_true(n > 0);
	}
}

static void expect_end(int fd)
{
	char byte;

	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
}

static int greet(uint32_t flags)
{
	int fd = connect_to_server();
	uint8_t hello[18], mine[4];

	recv_all(fd, hello, sizeof(hello));
	assert_true(get_be64(hello) == NBD_MAGIC && get_be64(hello + 8) == NBD_OPTS_MAGIC);
	assert_int_equal(get_be16(hello + 16), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	put_be32(mine, flags);
	send_all(fd, mine, 4);
	return fd;
}

static void send_option(int fd, uint32_t option, const void *data, uint32_t len)
{
	uint8_t head[16];

	put_be64(head, NBD_OPTS_MAGIC);
	put_be32(head + 8, option);
	put_be32(head + 12, len);
	send_all(fd, head, sizeof(head));
	send_all(fd, data, len);
}

/* The next reply's type; its data, to be freed, if anybody wants it. */
static uint32_t option_reply(int fd, uint32_t option, uint8_t **ret, uint32_t *ret_len)
{
	uint8_t head[20];
	g_autofree uint8_t *data = NULL;
	uint32_t len;

	recv_all(fd, head, sizeof(head));
	assert_true(get_be64(head) == NBD_REP_MAGIC);
	assert_int_equal(get_be32(head + 8), option);
	len = get_be32(head + 16);
	assert_true(len < 65536);
	data = g_malloc0(len + 1);
	recv_all(fd, data, len);
	if (ret)
		*ret = g_steal_pointer(&data);
	if (ret_len)
		*ret_len = len;
	return get_be32(head + 12);
}

static uint32_t ask(int fd, uint32_t option, const void *data, uint32_t len)
{
	send_option(fd, option, data, len);
	return option_reply(fd, option, NULL, NULL);
}

static GByteArray *with_name(const char *name)
{
	GByteArray *a = g_byte_array_new();
	uint8_t len[4];

	put_be32(len, strlen(name));
	g_byte_array_append(a, len, 4);
	g_byte_array_append(a, (const uint8_t *)name, strlen(name));
	return a;
}

static void add_word(GByteArray *a, uint32_t word, unsigned bytes)
{
	uint8_t be[4];

	put_be32(be, word);
	g_byte_array_append(a, be + 4 - bytes, bytes);
}

static uint16_t go(int fd, const char *name)
{
	g_autoptr(GByteArray) a = with_name(name);
	g_autofree uint8_t *data = NULL;
	uint32_t len;

	add_word(a, 0, 2);
	send_option(fd, NBD_OPT_GO, a->data, a->len);
	assert_int_equal(option_reply(fd, NBD_OPT_GO, &data, &len), NBD_REP_INFO);
	assert_int_equal(len, 12);
	assert_int_equal(get_be16(data), NBD_INFO_EXPORT);
	assert_true(get_be64(data + 2) == DISK);
	assert_int_equal(option_reply(fd, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
	return get_be16(data + 10);
}

static GByteArray *queries(const char *export, const char *const *list)
{
	GByteArray *a = with_name(export);
	unsigned n = 0;

	while (list && list[n])
		n++;
	add_word(a, n, 4);
	for (unsigned i = 0; i < n; i++) {
		g_autoptr(GByteArray) one = with_name(list[i]);

		g_byte_array_append(a, one->data, one->len);
	}
	return a;
}

/* Structured replies and all contexts of the export. */
static int structured(const char *name)
{
	static const char *const all[] = { "base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:b0", NULL };
	g_autoptr(GByteArray) a = queries(name, all);
	int fd = greet(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);

	assert_int_equal(ask(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	send_option(fd, NBD_OPT_SET_META_CONTEXT, a->data, a->len);
	while (option_reply(fd, NBD_OPT_SET_META_CONTEXT, NULL, NULL) == NBD_REP_META_CONTEXT)
		;
	go(fd, name);
	return fd;
}

static int simple(const char *name)
{
	int fd = greet(NBD_FLAG_FIXED_NEWSTYLE);

	go(fd, name);
	return fd;
}

static void put_request(uint8_t *to, unsigned type, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t len)
{
	put_be32(to, NBD_REQUEST_MAGIC);
	put_be16(to + 4, flags);
	put_be16(to + 6, type);
	put_be32(to + 8, cookie >> 32);
	put_be32(to + 12, cookie);
	put_be32(to + 16, offset >> 32);
	put_be32(to + 20, offset);
	put_be32(to + 24, len);
}

static void request(int fd, unsigned type, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t len)
{
	uint8_t r[NBD_REQUEST_SIZE];

	put_request(r, type, flags, cookie, offset, len);
	send_all(fd, r, sizeof(r));
}

static uint64_t simple_reply(int fd, uint32_t *ret_error)
{
	uint8_t head[16];

	recv_all(fd, head, sizeof(head));
	assert_int_equal(get_be32(head), NBD_SIMPLE_REPLY_MAGIC);
	*ret_error = get_be32(head + 4);
	return get_be64(head + 8);
}

static uint32_t result(int fd, unsigned type, unsigned flags, uint64_t offset, uint32_t len)
{
	uint32_t error;

	request(fd, type, flags, 77, offset, len);
	assert_true(simple_reply(fd, &error) == 77);
	return error;
}

static uint32_t write_result(int fd, unsigned flags, uint64_t offset, const void *data, uint32_t len)
{
	uint32_t error;

	request(fd, NBD_CMD_WRITE, flags, 78, offset, len);
	send_all(fd, data, len);
	assert_true(simple_reply(fd, &error) == 78);
	return error;
}

static struct chunk next_chunk(int fd, uint64_t cookie)
{
	uint8_t head[NBD_CHUNK_SIZE];
	struct chunk c;

	recv_all(fd, head, sizeof(head));
	assert_int_equal(get_be32(head), NBD_STRUCTURED_REPLY_MAGIC);
	assert_true(get_be64(head + 8) == cookie);
	c = (struct chunk){ get_be16(head + 4), get_be16(head + 6), get_be32(head + 16), NULL };
	assert_true(c.len < REPLY_MAX);
	c.data = g_malloc(c.len + 1);
	recv_all(fd, c.data, c.len);
	return c;
}

static uint32_t chunk_error(int fd, unsigned type, unsigned flags, uint64_t offset, uint32_t len)
{
	struct chunk c;
	uint32_t error;

	request(fd, type, flags, 5, offset, len);
	c = next_chunk(fd, 5);
	assert_int_equal(c.type, NBD_REPLY_TYPE_ERROR);
	assert_int_equal(c.flags, NBD_REPLY_FLAG_DONE);
	error = get_be32(c.data);
	g_free(c.data);
	return error;
}

static void goodbye(int fd)
{
	request(fd, NBD_CMD_DISC, 0, 0, 0, 0);
	expect_end(fd);
}

/* ---- options ---- */

static void test_greeting(void **state)
{
	int fd = greet(4);

	expect_end(fd); /* a flag that nobody knows */
	fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	send_all(fd, "0123456789abcdef", 16);
	expect_end(fd);
	fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	assert_int_equal(ask(fd, NBD_OPT_ABORT, NULL, 0), NBD_REP_ACK);
	expect_end(fd);
	fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	close(fd);
}

static void test_options(void **state)
{
	int fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	g_autofree uint8_t *data = NULL, *big = g_malloc0(100000), *other = NULL;
	g_autoptr(GByteArray) nobody = with_name("nobody"), a = with_name("a");
	uint32_t len;

	assert_int_equal(ask(fd, 99, "xyz", 3), NBD_REP_ERR_UNSUP);
	assert_int_equal(ask(fd, NBD_OPT_LIST, "x", 1), NBD_REP_ERR_INVALID);
	assert_int_equal(ask(fd, NBD_OPT_STARTTLS, NULL, 0), NBD_REP_ERR_POLICY);
	assert_int_equal(ask(fd, NBD_OPT_INFO, big, 100000), NBD_REP_ERR_TOO_BIG);
	assert_int_equal(ask(fd, NBD_OPT_INFO, nobody->data, nobody->len), NBD_REP_ERR_INVALID);
	add_word(nobody, 0, 2);
	assert_int_equal(ask(fd, NBD_OPT_INFO, nobody->data, nobody->len), NBD_REP_ERR_UNKNOWN);
	assert_int_equal(ask(fd, NBD_OPT_GO, "\xff\xff\xff\xff\0\0", 6), NBD_REP_ERR_INVALID);
	assert_int_equal(ask(fd, NBD_OPT_GO, "\0\0\0\2a\0\0\0", 8), NBD_REP_ERR_INVALID);
	assert_int_equal(ask(fd, NBD_OPT_STRUCTURED_REPLY, "x", 1), NBD_REP_ERR_INVALID);
	assert_int_equal(ask(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	assert_int_equal(ask(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ERR_INVALID);
	send_option(fd, NBD_OPT_LIST, NULL, 0);
	assert_int_equal(option_reply(fd, NBD_OPT_LIST, &data, &len), NBD_REP_SERVER);
	assert_int_equal(option_reply(fd, NBD_OPT_LIST, &other, &len), NBD_REP_SERVER);
	assert_memory_equal(other, "\0\0\0\1athe first", 14);
	assert_int_equal(option_reply(fd, NBD_OPT_LIST, NULL, NULL), NBD_REP_ACK);
	add_word(a, 2, 2);
	add_word(a, NBD_INFO_DESCRIPTION, 2);
	assert_int_equal(ask(fd, NBD_OPT_INFO, a->data, a->len), NBD_REP_ERR_INVALID); /* one of two is missing */
	add_word(a, NBD_INFO_BLOCK_SIZE, 2);
	send_option(fd, NBD_OPT_INFO, a->data, a->len);
	g_clear_pointer(&data, g_free);
	assert_int_equal(option_reply(fd, NBD_OPT_INFO, &data, &len), NBD_REP_INFO);
	assert_memory_equal(data, "\0\2the first", 11);
	g_clear_pointer(&data, g_free);
	assert_int_equal(option_reply(fd, NBD_OPT_INFO, &data, &len), NBD_REP_INFO);
	assert_memory_equal(data, "\0\3\0\0\0\1\0\0\x10\0\2\0\0\0", 14);
	assert_int_equal(option_reply(fd, NBD_OPT_INFO, NULL, NULL), NBD_REP_INFO);
	assert_int_equal(option_reply(fd, NBD_OPT_INFO, NULL, NULL), NBD_REP_ACK);
	assert_true(go(fd, "ro") & NBD_FLAG_READ_ONLY);
	goodbye(fd);
	fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	send_option(fd, NBD_OPT_INFO, "", 0);
	assert_int_equal(option_reply(fd, NBD_OPT_INFO, NULL, NULL), NBD_REP_ERR_INVALID);
	close(fd);
}

static void test_export_name(void **state)
{
	uint8_t answer[134];
	int fd = greet(0);

	send_option(fd, NBD_OPT_EXPORT_NAME, "a", 1);
	recv_all(fd, answer, 134);
	assert_true(get_be64(answer) == DISK);
	assert_int_equal(result(fd, NBD_CMD_FLUSH, 0, 0, 0), 0);
	goodbye(fd);
	fd = greet(NBD_FLAG_NO_ZEROES);
	send_option(fd, NBD_OPT_EXPORT_NAME, "a", 1);
	recv_all(fd, answer, 10);
	assert_int_equal(result(fd, NBD_CMD_FLUSH, 0, 0, 0), 0);
	goodbye(fd);
	fd = greet(NBD_FLAG_NO_ZEROES);
	send_option(fd, NBD_OPT_EXPORT_NAME, "nobody", 6);
	expect_end(fd);
}

static unsigned count_contexts(int fd, uint32_t option, const char *export, const char *const *list, uint32_t *ret_end)
{
	g_autoptr(GByteArray) a = queries(export, list);
	unsigned n = 0;

	send_option(fd, option, a->data, a->len);
	while ((*ret_end = option_reply(fd, option, NULL, NULL)) == NBD_REP_META_CONTEXT)
		n++;
	return n;
}

static void test_contexts(void **state)
{
	static const char *const base[] = { "base:", NULL }, *const qemu[] = { "qemu:", NULL },
				 *const bitmaps[] = { "qemu:dirty-bitmap:", "other:x", NULL },
				 *const two[] = { "base:allocation", "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:none", NULL };
	int fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	uint32_t end;

	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "a", NULL, &end), 0);
	assert_int_equal(end, NBD_REP_ERR_INVALID);
	assert_int_equal(ask(fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "a", NULL, &end), 3);
	assert_int_equal(end, NBD_REP_ACK);
	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "ro", NULL, &end), 1);
	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "a", base, &end), 1);
	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "a", qemu, &end), 2);
	assert_int_equal(count_contexts(fd, NBD_OPT_LIST_META_CONTEXT, "a", bitmaps, &end), 1);
	assert_int_equal(count_contexts(fd, NBD_OPT_SET_META_CONTEXT, "a", base, &end), 0);
	assert_int_equal(count_contexts(fd, NBD_OPT_SET_META_CONTEXT, "nobody", two, &end), 0);
	assert_int_equal(end, NBD_REP_ERR_UNKNOWN);
	assert_int_equal(ask(fd, NBD_OPT_SET_META_CONTEXT, "\0\0\0\1a\0\0\0\2\0\0\0\1x", 14), NBD_REP_ERR_INVALID);
	assert_int_equal(count_contexts(fd, NBD_OPT_SET_META_CONTEXT, "a", two, &end), 2);
	/* Of another export than the one that is used: none. */
	go(fd, "ro");
	assert_int_equal(chunk_error(fd, NBD_CMD_BLOCK_STATUS, 0, 0, 512), NBD_EINVAL);
	goodbye(fd);
}

/* ---- requests ---- */

static void test_simple(void **state)
{
	g_autofree uint8_t *data = g_malloc(DATA);
	int fd = simple("a");
	uint32_t error;

	request(fd, NBD_CMD_READ, 0, 0x1122334455667788, DATA_AT + 512, 4096);
	assert_true(simple_reply(fd, &error) == 0x1122334455667788);
	assert_int_equal(error, 0);
	recv_all(fd, data, 4096);
	assert_memory_equal(data, pattern + 512, 4096);
	request(fd, NBD_CMD_READ, 0, 1, DATA_AT, DATA);
	simple_reply(fd, &error);
	recv_all(fd, data, DATA);
	assert_memory_equal(data, pattern, DATA);
	assert_int_equal(write_result(fd, 0, 3, "abc", 3), 0);
	assert_int_equal(write_result(fd, NBD_CMD_FLAG_FUA, 6, "def", 3), 0);
	assert_int_equal(write_result(fd, NBD_CMD_FLAG_FUA, 1 << 20, pattern, 300000), 0); /* more than the buffer */
	assert_int_equal(result(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, DATA_AT + 100, 50000), 0);
	assert_int_equal(result(fd, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, DATA_AT + 60000, 10), 0);
	assert_int_equal(result(fd, NBD_CMD_TRIM, 0, DATA_AT + 65536, 65536), 0);
	assert_int_equal(result(fd, NBD_CMD_CACHE, 0, DATA_AT, 65536), 0);
	assert_int_equal(result(fd, NBD_CMD_FLUSH, 0, 0, 0), 0);
	assert_int_equal(image_read(img, 0, data, 10), 0);
	assert_memory_equal(data, "\0\0\0abcdef", 10);
	assert_int_equal(image_read(img, DATA_AT, data, DATA), 0);
	assert_memory_equal(data, pattern, 100);
	assert_int_equal(data[100] | data[50099] | data[60000] | data[60009] | data[65536] | data[131071], 0);
	assert_memory_equal(data + 131072, pattern + 131072, DATA - 131072);
	goodbye(fd);
}

static void test_refused(void **state)
{
	int fd = simple("a");

	assert_int_equal(result(fd, NBD_CMD_READ, 0, DISK - 512, 1024), NBD_EINVAL);
	assert_int_equal(result(fd, NBD_CMD_READ, 0, UINT64_MAX - 10, 1024), NBD_EINVAL);
	assert_int_equal(write_result(fd, 0, DISK - 512, pattern, 1024), NBD_ENOSPC);
	assert_int_equal(write_result(fd, 0, UINT64_MAX, pattern, 1024), NBD_ENOSPC);
	assert_int_equal(write_result(fd, 64, 0, pattern, 1024), NBD_EINVAL); /* a flag that nobody knows */
	assert_int_equal(result(fd, NBD_CMD_WRITE_ZEROES, 0, DISK, 1), NBD_ENOSPC);
	assert_int_equal(result(fd, NBD_CMD_WRITE_ZEROES, 1 << 5, 0, 512), NBD_EINVAL); /* nobody knows that flag either */
	assert_int_equal(result(fd, NBD_CMD_TRIM, 0, DISK, 1), NBD_EINVAL);
	assert_int_equal(result(fd, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512), NBD_EINVAL); /* without structured replies */
	assert_int_equal(result(fd, NBD_CMD_BLOCK_STATUS, 0, 0, 512), NBD_EINVAL);
	assert_int_equal(result(fd, 99, 0, 0, 0), NBD_EINVAL);
	assert_int_equal(result(fd, NBD_CMD_TRIM, 0, 0, 0), 0);
	assert_int_equal(result(fd, NBD_CMD_READ, 0, 0, 0), 0);
	send_all(fd, "this is no request, and too long", 32);
	expect_end(fd);
	fd = simple("ro");
	assert_int_equal(write_result(fd, 0, 0, pattern, 1024), NBD_EPERM);
	assert_int_equal(write_result(fd, 0, 0, pattern, 400000), NBD_EPERM);
	assert_int_equal(result(fd, NBD_CMD_WRITE_ZEROES, 0, 0, 512), NBD_EPERM);
	assert_int_equal(result(fd, NBD_CMD_TRIM, 0, 0, 512), NBD_EPERM);
	assert_int_equal(result(fd, NBD_CMD_FLUSH, 0, 0, 0), 0);
	goodbye(fd);
	assert_int_equal(image_read(img, 0, pattern, 1), 0);
	assert_int_equal(pattern[0], 0);
	pattern[0] = 1;
}

/* Reads a range by chunks into data. */
static unsigned read_chunks(int fd, unsigned flags, uint64_t offset, uint32_t len, uint8_t *data, unsigned *ret_holes)
{
	unsigned n = 0;
	struct chunk c;

	*ret_holes = 0;
	memset(data, 0xee, len);
	request(fd, NBD_CMD_READ, flags, 9, offset, len);
	do {
		c = next_chunk(fd, 9);
		n++;
		if (c.type == NBD_REPLY_TYPE_OFFSET_HOLE) {
			memset(data + (get_be64(c.data) - offset), 0, get_be32(c.data + 8));
			++*ret_holes;
		} else {
			assert_int_equal(c.type, NBD_REPLY_TYPE_OFFSET_DATA);
			memcpy(data + (get_be64(c.data) - offset), c.data + 8, c.len - 8);
		}
		g_free(c.data);
	} while (!(c.flags & NBD_REPLY_FLAG_DONE));
	return n;
}

static void test_structured(void **state)
{
	g_autofree uint8_t *data = g_malloc(DISK), *want = g_malloc0(DISK);
	int fd = structured("a");
	unsigned holes;
	struct chunk c;

	memcpy(want + DATA_AT, pattern, DATA);
	assert_int_equal(read_chunks(fd, 0, 0, DISK, data, &holes), 3);
	assert_int_equal(holes, 2);
	assert_memory_equal(data, want, DISK);
	assert_int_equal(read_chunks(fd, NBD_CMD_FLAG_DF, 0, DISK, data, &holes), 1);
	assert_int_equal(holes, 0);
	assert_memory_equal(data, want, DISK);
	read_chunks(fd, 0, DATA_AT - 512, 4096, data, &holes);
	assert_memory_equal(data, want + DATA_AT - 512, 4096);
	assert_int_equal(read_chunks(fd, 0, 0, 1 << 20, data, &holes), 1);
	assert_int_equal(holes, 1);
	request(fd, NBD_CMD_READ, 0, 3, 0, 0);
	c = next_chunk(fd, 3);
	assert_int_equal(c.type, NBD_REPLY_TYPE_NONE);
	g_free(c.data);
	assert_int_equal(chunk_error(fd, NBD_CMD_READ, 0, DISK, 1), NBD_EINVAL);
	assert_int_equal(chunk_error(fd, NBD_CMD_READ, 0, 0, NBD_MAX_PAYLOAD + 1), NBD_EINVAL);
	goodbye(fd);
}

static void expect_status(const struct chunk *c, uint32_t context, const uint32_t *want, unsigned n)
{
	assert_int_equal(c->type, NBD_REPLY_TYPE_BLOCK_STATUS);
	assert_int_equal(c->len, 4 + 4 * n);
	assert_int_equal(get_be32(c->data), context);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(get_be32(c->data + 4 + 4 * i), want[i]);
}

static void test_status(void **state)
{
	static const uint32_t base[] = { DATA_AT, 3, DATA, 0, DISK - DATA_AT - DATA, 3 }, depth[] = { DISK, 1 },
			      bitmap[] = { 65536, 0, 65536, 1, 512, 0 };
	int fd = structured("a");
	struct chunk c[3];

	request(fd, NBD_CMD_BLOCK_STATUS, 0, 4, 0, DISK);
	for (unsigned i = 0; i < 3; i++)
		c[i] = next_chunk(fd, 4);
	expect_status(&c[0], 0, base, 6);
	expect_status(&c[1], 1, depth, 2);
	assert_int_equal(c[2].len, 4 + 8 * (DISK / 65536));
	assert_int_equal(c[2].flags, NBD_REPLY_FLAG_DONE);
	for (unsigned i = 0; i < 3; i++)
		g_free(c[i].data);
	request(fd, NBD_CMD_BLOCK_STATUS, 0, 4, 0, 2 * 65536 + 512);
	for (unsigned i = 0; i < 3; i++)
		c[i] = next_chunk(fd, 4);
	expect_status(&c[2], 2, bitmap, 6);
	for (unsigned i = 0; i < 3; i++)
		g_free(c[i].data);
	request(fd, NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 4, DATA_AT + DATA - 512, 1024);
	for (unsigned i = 0; i < 3; i++)
		c[i] = next_chunk(fd, 4);
	expect_status(&c[0], 0, (const uint32_t[]){ 512, 0 }, 2);
	for (unsigned i = 0; i < 3; i++)
		g_free(c[i].data);
	assert_int_equal(chunk_error(fd, NBD_CMD_BLOCK_STATUS, 0, DISK - 512, 1024), NBD_EINVAL);
	assert_int_equal(chunk_error(fd, NBD_CMD_BLOCK_STATUS, 0, 0, 0), NBD_EINVAL);
	goodbye(fd);
}

/* ---- many at once ---- */

static void *send_slowly(void *opaque)
{
	GByteArray *a = ((void **)opaque)[0];
	int fd = GPOINTER_TO_INT(((void **)opaque)[1]);
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);

	for (unsigned at = 0; at < a->len;) {
		unsigned n = g_rand_int_range(rand, 1, 3000);

		n = MIN(n, a->len - at);
		send_all(fd, a->data + at, n);
		at += n;
	}
	return NULL;
}

/* Writes and zeroes of blocks in pieces of any size, in one stream; then all is as it should be. */
static void test_stream(void **state)
{
	enum { REQUESTS = 600 };
	g_autoptr(GRand) rand = g_rand_new_with_seed(2);
	g_autoptr(GByteArray) a = g_byte_array_new();
	g_autofree uint8_t *want = g_malloc0(DISK), *data = g_malloc(DISK);
	bool seen[REQUESTS] = {};
	int fd = simple("a");
	void *args[] = { a, GINT_TO_POINTER(fd) };
	GThread *thread;

	memcpy(want + DATA_AT, pattern, DATA);
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t len = i % 7 ? DISK / REQUESTS - g_rand_int_range(rand, 0, 2000) : 0;
		uint64_t offset = i * (uint64_t)(DISK / REQUESTS);
		unsigned type = i % 5 ? NBD_CMD_WRITE : NBD_CMD_WRITE_ZEROES;
		uint8_t r[NBD_REQUEST_SIZE];

		put_request(r, type, i % 50 ? 0 : NBD_CMD_FLAG_FUA, i, offset, len);
		g_byte_array_append(a, r, sizeof(r));
		memset(want + offset, type == NBD_CMD_WRITE ? i % 255 + 1 : 0, len);
		if (type == NBD_CMD_WRITE)
			g_byte_array_append(a, want + offset, len);
	}
	thread = g_thread_new("send", send_slowly, args);
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t error;
		uint64_t cookie = simple_reply(fd, &error);

		assert_true(cookie < REQUESTS && !seen[cookie]);
		assert_int_equal(error, 0);
		seen[cookie] = true;
	}
	g_thread_join(thread);
	goodbye(fd);
	assert_int_equal(image_read(img, 0, data, DISK), 0);
	assert_memory_equal(data, want, DISK);
}

/* A client that asks for much and takes nothing for a while: all of it comes in the end. */
static void test_not_reading(void **state)
{
	enum { REQUESTS = 400 };
	g_autofree uint8_t *data = g_malloc(1 << 20), *all = g_malloc(REQUESTS * NBD_REQUEST_SIZE);
	int fd = simple("a");

	/* At once: single ones would fill the socket, and then both sides would wait. */
	for (unsigned i = 0; i < REQUESTS; i++)
		put_request(all + i * NBD_REQUEST_SIZE, NBD_CMD_READ, 0, i, DATA_AT, 1 << 20);
	send_all(fd, all, REQUESTS * NBD_REQUEST_SIZE);
	g_usleep(1000);
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t error;

		assert_true(simple_reply(fd, &error) < REQUESTS);
		assert_int_equal(error, 0);
		recv_all(fd, data, 1 << 20);
		assert_memory_equal(data, pattern, DATA);
	}
	/* And one that does not come back for them. */
	for (unsigned i = 0; i < REQUESTS; i += 2)
		put_request(all + i * NBD_REQUEST_SIZE, NBD_CMD_FLUSH, 0, i, 0, 0);
	send_all(fd, all, REQUESTS * NBD_REQUEST_SIZE);
	close(fd);
}

/* Who drains the image does not wait for a client that takes nothing; requests wait until the drain is over. */
static void test_drain(void **state)
{
	enum { REQUESTS = 64 };
	g_autofree uint8_t *data = g_malloc(1 << 20), *all = g_malloc(REQUESTS * NBD_REQUEST_SIZE);
	int fd = simple("a"), other = structured("a");
	unsigned flushes = 0, n_data = 0, n_status = 0;
	uint32_t error;
	struct chunk c;

	for (unsigned i = 0; i < REQUESTS; i++)
		put_request(all + i * NBD_REQUEST_SIZE, i % 2 ? NBD_CMD_READ : NBD_CMD_FLUSH, 0, i, i % 2 ? DATA_AT : 0,
			    i % 2 << 20);
	send_all(fd, all, REQUESTS * NBD_REQUEST_SIZE);
	for (unsigned i = 0; i < 20; i++) {
		image_drain_begin(img);
		if (i == 10) {
			request(other, NBD_CMD_READ, 0, 1, DATA_AT, 4096);
			request(other, NBD_CMD_BLOCK_STATUS, 0, 1, 0, 4096);
			g_usleep(2000);
			assert_int_equal(recv(other, data, 1, MSG_DONTWAIT), -1);
		}
		image_drain_end(img);
		g_usleep(200);
	}
	for (unsigned i = 0; i < 4; i++) { /* the read's, and the three contexts', in any order */
		c = next_chunk(other, 1);
		n_data += c.type == NBD_REPLY_TYPE_OFFSET_DATA;
		n_status += c.type == NBD_REPLY_TYPE_BLOCK_STATUS;
		g_free(c.data);
	}
	assert_true(n_data == 1 && n_status == 3);
	goodbye(other);
	for (unsigned i = 0; i < REQUESTS; i++) {
		bool flush = simple_reply(fd, &error) % 2 == 0;

		assert_int_equal(error, 0);
		flushes += flush;
		if (!flush)
			recv_all(fd, data, 1 << 20);
	}
	assert_int_equal(flushes, REQUESTS / 2);
	goodbye(fd);
}

/* ---- exports come and go ---- */

static void test_remove(void **state)
{
	g_autoptr(GByteArray) a = with_name("a");
	int fd = simple("a"), other = simple("ro");

	assert_int_equal(nbd_export_connections(export_a), 1);
	assert_true(nbd_export_find(server, "a") == export_a);
	nbd_export_remove(export_a);
	expect_end(fd);
	assert_null(nbd_export_find(server, "a"));
	assert_int_equal(result(other, NBD_CMD_FLUSH, 0, 0, 0), 0);
	goodbye(other);
	fd = greet(NBD_FLAG_FIXED_NEWSTYLE);
	add_word(a, 0, 2);
	assert_int_equal(ask(fd, NBD_OPT_GO, a->data, a->len), NBD_REP_ERR_UNKNOWN);
	close(fd);
	while (nbd_server_connections(server))
		g_main_context_iteration(NULL, TRUE);
	assert_int_equal(left_count, 2);
}

static void test_add(void **state)
{
	g_autofree char *path = rig_path("second"), *name = g_strnfill(NBD_MAX_STRING + 1, 'x');
	struct nbd_export_options o = { .name = "a", .writable = true };
	g_autoptr(GError) busy = NULL, writes = NULL, size = NULL;
	struct image *second;

	assert_true(g_file_set_contents(path, "", 0, NULL));
	second = open_image(path, true);
	assert_null(nbd_export_add(server, img, &o, &busy));
	assert_non_null(strstr(busy->message, "there is an NBD export 'a' already"));
	o.name = "b";
	assert_null(nbd_export_add(server, second, &o, &writes));
	assert_non_null(strstr(writes->message, "is open for reading only"));
	o.name = name;
	assert_null(nbd_export_add(server, img, &o, &size));
	assert_non_null(strstr(size->message, "at most 4096 bytes"));
	image_close(second);
}

static void test_resize(void **state)
{
	g_autoptr(GByteArray) a = with_name("a");
	g_autofree uint8_t *data = NULL;
	int fd = simple("a"), later;

	assert_true(image_resize(img, 2 * DISK, IMAGE_PREALLOC_OFF, NULL));
	assert_int_equal(write_result(fd, 0, DISK, "x", 1), NBD_ENOSPC); /* it was told another size */
	goodbye(fd);
	later = greet(NBD_FLAG_FIXED_NEWSTYLE);
	add_word(a, 0, 2);
	send_option(later, NBD_OPT_GO, a->data, a->len);
	assert_int_equal(option_reply(later, NBD_OPT_GO, &data, NULL), NBD_REP_INFO);
	assert_true(get_be64(data + 2) == 2 * DISK);
	assert_int_equal(option_reply(later, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
	assert_int_equal(write_result(later, 0, 2 * DISK - 1, "x", 1), 0);
	assert_true(image_resize(img, DISK, IMAGE_PREALLOC_OFF, NULL));
	assert_int_equal(write_result(later, 0, 2 * DISK - 1, "x", 1), NBD_EINVAL); /* it has become smaller since */
	goodbye(later);
}

static void *say_hello(void *opaque)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int listening = GPOINTER_TO_INT(opaque), fd = socket(AF_UNIX, SOCK_STREAM, 0);
	uint8_t hello[18];

	assert_int_equal(getsockname(listening, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	recv_all(fd, hello, sizeof(hello));
	return GINT_TO_POINTER(fd);
}

/* With one connection allowed the second waits until the first is over. */
static void test_limit(void **state)
{
	g_autofree char *path = rig_path("socket");
	struct nbd_server *one = start(1);
	int listening = kv_listen_unix("socket", path, NULL);
	GThread *first, *second;
	int fd;

	nbd_server_listen(one, listening);
	first = g_thread_new("first", say_hello, GINT_TO_POINTER(listening));
	while (!nbd_server_connections(one))
		g_main_context_iteration(NULL, TRUE);
	fd = GPOINTER_TO_INT(g_thread_join(first));
	second = g_thread_new("second", say_hello, GINT_TO_POINTER(listening));
	for (unsigned i = 0; i < 20; i++) {
		g_usleep(1000);
		g_main_context_iteration(NULL, FALSE);
		assert_int_equal(nbd_server_connections(one), 1);
	}
	close(fd);
	while (nbd_server_connections(one))
		g_main_context_iteration(NULL, TRUE);
	while (!nbd_server_connections(one))
		g_main_context_iteration(NULL, TRUE);
	close(GPOINTER_TO_INT(g_thread_join(second)));
	nbd_server_free(one);
	unlink(path);
}

/* ---- names of exports, for the client ---- */

static void test_names(void **state)
{
	static const struct {
		const char *name, *uri;
	} cases[] = {
		{ "nbd://host:1/x", "nbd://host:1/x" },
		{ "nbds+unix:///x?socket=/s", "nbds+unix:///x?socket=/s" },
		{ "nbd:host:10809", "nbd://host:10809/" },
		{ "nbd:[::1]:10809:exportname=a b/c", "nbd://[::1]:10809/a%20b/c" },
		{ "nbd:unix:/tmp/a socket", "nbd+unix:///?socket=/tmp/a%20socket" },
		{ "nbd:unix:/tmp/s:exportname=a?b", "nbd+unix:///a%3Fb?socket=/tmp/s" },
		{ "nbd:", NULL },
		{ "nbd:host", NULL },
		{ "nbd:host:", NULL },
		{ "nbd:host:port", NULL },
		{ "nbd::1", NULL },
		{ "nbd:unix:", NULL },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *uri = image_file_nbd_uri(cases[i].name, &error);

		assert_true(image_file_is_nbd(cases[i].name));
		if (cases[i].uri)
			assert_string_equal(uri, cases[i].uri);
		else
			assert_true(!uri && error);
	}
	assert_false(image_file_is_nbd("/nbd://x") || image_file_is_nbd("./nbd:x:1") || image_file_is_nbd("nbd"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_greeting),	TEST(test_options), TEST(test_export_name), TEST(test_contexts), TEST(test_simple),
		TEST(test_refused),	TEST(test_structured), TEST(test_status), TEST(test_stream),
		TEST(test_not_reading), TEST(test_drain),
		TEST(test_remove),	TEST(test_add), TEST(test_resize), TEST(test_limit), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
