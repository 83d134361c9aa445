/* SPDX-License-Identifier: GPL-2.0-or-later */
/* saver.c, saver-cow.c, loader.c: memory through a stream, a file, and a file at one moment, without a CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "error.h"
#include "mem-backing.h"
#include "saved-form.h"

enum { PAGE = 4096, RAM = 2 << 20, VIDEO = 256 << 10 };

#define HIGH 0x100000000ull

struct rig {
	struct guest_mem *mem;
	struct mem_region *video;
	int fd;
};

static const char description[] = "machine test\n";

static struct rig make_rig(int fd)
{
	struct rig r = { .mem = mem_new(-1), .fd = fd };

	assert_true(mem_add_ram(r.mem, 0, RAM, NULL));
	assert_true(mem_add_ram(r.mem, HIGH, RAM, NULL));
	r.video = mem_region_new(r.mem, "video", VIDEO, false, NULL);
	assert_non_null(r.video);
	return r;
}

static void free_rig(struct rig *r)
{
	mem_region_free(r->video);
	mem_free(r->mem);
}

static int new_file(void)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void fill(struct rig *r, uint64_t gpa, uint64_t len, uint8_t first)
{
	for (uint64_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)(first + i * 7 + (i >> 8));

		assert_true(gpa_write(r->mem, gpa + i, &byte, 1));
	}
}

static GByteArray *a_state(void)
{
	return g_byte_array_append(g_byte_array_new(), (const uint8_t *)"the state", 9);
}

/* What was saved is in a new machine. */
static void check_loaded(struct rig *from, int fd, bool mapped, bool running)
{
	struct rig to = make_rig(fd);
	struct loader *l = loader_new_for(to.mem, description, fd);
	g_autoptr(GError) error = NULL;

	lseek(fd, 0, SEEK_SET);
	memset(to.video->host, 0x55, VIDEO);
	if (!loader_read(l, &error))
		fail_msg("%s", error->message);
	assert_memory_equal(gpa_ptr(to.mem, 0, RAM), gpa_ptr(from->mem, 0, RAM), RAM);
	assert_memory_equal(gpa_ptr(to.mem, HIGH, RAM), gpa_ptr(from->mem, HIGH, RAM), RAM);
	assert_memory_equal(to.video->host, from->video->host, VIDEO);
	assert_int_equal(l->state->len, 9);
	assert_memory_equal(l->state->data, "the state", 9);
	assert_int_equal(loader_mapped(l), mapped);
	assert_int_equal(l->running, running);
	loader_free(l);
	assert_true(mem_clear(to.mem, NULL));
	for (unsigned i = 0; i < RAM; i += PAGE)
		assert_int_equal(*(uint8_t *)gpa_ptr(to.mem, i, 1), 0);
	free_rig(&to);
}

static void round_trip(enum saved_form form)
{
	struct rig r = make_rig(new_file());
	struct saver *s = saver_new_for(r.mem, description, r.fd, form);
	g_autoptr(GByteArray) state = a_state();
	g_autoptr(GError) error = NULL;
	struct saved_counts c;
	struct stat st;

	fill(&r, 5 * PAGE + 100, 3 * PAGE, 1);
	fill(&r, HIGH + RAM - PAGE, PAGE, 2);
	r.video->host[0] = 9;
	assert_true(saver_log(s, &error) && saver_begin(s, &error) && saver_round(s, &error));
	saver_counts(s, &c);
	assert_int_equal(c.remaining, 0);
	assert_int_equal(c.normal, 4 + 1 + 1);
	assert_int_equal(c.total, 2 * RAM + VIDEO);
	/* A page anew, one for the first time, one that is zeroes again, and a card's. */
	fill(&r, 6 * PAGE, 10, 3);
	fill(&r, 40 * PAGE, PAGE, 4);
	memset(gpa_ptr(r.mem, 5 * PAGE, PAGE), 0, PAGE);
	mem_written(r.mem, 5 * PAGE, PAGE);
	r.video->host[PAGE] = 8;
	mem_region_written(r.video, PAGE, 1);
	assert_true(saver_round(s, &error));
	saver_counts(s, &c);
	assert_int_equal(c.remaining, 4 * PAGE);
	fill(&r, 41 * PAGE, 1, 5);
	assert_true(saver_finish(s, state, true, &error));
	saver_counts(s, &c);
	assert_int_equal(c.normal, 6 + 2 + 1 + 1);
	saver_free(s);
	fstat(r.fd, &st);
	assert_true(st.st_blocks * 512 < (form == SAVED_FILE ? 32 * PAGE : 16 * PAGE));
	check_loaded(&r, r.fd, form == SAVED_FILE, true);
	check_loaded(&r, r.fd, form == SAVED_FILE, true);
	close(r.fd);
	free_rig(&r);
}

static void stream(void **state)
{
	round_trip(SAVED_STREAM);
}

static void file(void **state)
{
	round_trip(SAVED_FILE);
}

static void display_and_saver(void **state)
{
	struct rig r = make_rig(-1);
	uint64_t seen[VIDEO / PAGE / 64 + 1];
	struct mem_area areas[MEM_AREAS];
	g_autofree uint64_t *due = g_new0(uint64_t, VIDEO / PAGE / 64 + 1);
	unsigned n = mem_areas(r.mem, areas);

	assert_int_equal(n, 3);
	assert_string_equal(areas[2].name, "video");
	assert_true(mem_region_take_dirty(r.video, seen));
	assert_true(mem_log_start(r.mem, NULL));
	mem_region_written(r.video, 3 * PAGE + 5, 2 * PAGE);
	/* What the device wrote the display knows; the saver does not. */
	assert_false(mem_region_take_dirty(r.video, seen));
	assert_true(mem_log_take(r.mem, &areas[2], due, NULL));
	assert_int_equal(due[0], 7 << 3);
	mem_log_stop(r.mem);
	free_rig(&r);
}

static void cancelled(void **state)
{
	struct rig r = make_rig(new_file());
	struct saver *s = saver_new_for(r.mem, description, r.fd, SAVED_STREAM);
	g_autoptr(GError) error = NULL;

	fill(&r, 0, PAGE, 1);
	assert_true(saver_begin(s, &error));
	saver_cancel(s);
	assert_false(saver_round(s, &error));
	assert_string_equal(error->message, "cancelled");
	saver_free(s);
	close(r.fd);
	free_rig(&r);
}

/* The last bytes have gone, and somebody there runs by them: it is too late. */
static void cancelled_late(void **state)
{
	struct rig r = make_rig(-1);
	struct saver *s;
	int fds[2];
	uint8_t byte = 1;
	g_autoptr(GError) error = NULL;

	assert_int_equal(pipe(fds), 0);
	s = saver_new_for(r.mem, description, fds[1], SAVED_STREAM);
	saver_cancel(s);
	assert_false(saver_write(s, &byte, 1, 0, &error));
	assert_string_equal(error->message, "cancelled");
	saver_free(s);
	close(fds[1]);
	/* Nothing had gone. */
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	free_rig(&r);
}

/* ---- shared memory ---- */

struct backed {
	struct mem_backing *backing;
	struct guest_mem *mem;
};

static struct backed make_backed(const struct mem_backing_config *c)
{
	struct backed b = { mem_backing_new("m", c, NULL), mem_new(-1) };

	assert_non_null(b.backing);
	mem_set_backing(b.mem, b.backing, RAM);
	assert_true(mem_add_ram(b.mem, 0, RAM, NULL));
	return b;
}

static void free_backed(struct backed *b)
{
	mem_free(b->mem);
	mem_backing_free(b->backing);
}

/* The host has taken pages out of the mapping: they are there all the same. So is what a file had before. */
static void shared(const struct mem_backing_config *c)
{
	struct backed from = make_backed(c), to;
	g_autoptr(GByteArray) state = a_state();
	g_autoptr(GError) error = NULL;
	int fd = new_file();
	struct saver *s;
	struct loader *l;
	uint8_t byte = 7;

	assert_true(gpa_write(from.mem, 9 * PAGE, &byte, 1) && gpa_write(from.mem, RAM - 1, &byte, 1));
	assert_int_equal(madvise(from.backing->host, RAM, MADV_DONTNEED), 0);
	s = saver_new_for(from.mem, description, fd, SAVED_STREAM);
	assert_true(saver_log(s, &error) && saver_begin(s, &error) && saver_round(s, &error));
	assert_true(saver_finish(s, state, true, &error));
	saver_free(s);
	free_backed(&from);
	to = make_backed(c);
	byte = 8;
	assert_true(gpa_write(to.mem, 20 * PAGE, &byte, 1));
	lseek(fd, 0, SEEK_SET);
	l = loader_new_for(to.mem, description, fd);
	assert_true(loader_read(l, &error));
	loader_free(l);
	assert_int_equal(to.backing->host[9 * PAGE], 7);
	assert_int_equal(to.backing->host[RAM - 1], 7);
	assert_int_equal(to.backing->host[20 * PAGE], 0);
	free_backed(&to);
	close(fd);
}

static void shared_memory(void **state)
{
	g_autofree char *path = g_strdup("/tmp/kv-saved-XXXXXX");
	int fd = g_mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	shared(&(struct mem_backing_config){ .kind = MEM_BACKING_MEMFD, .size = RAM, .share = true });
	shared(&(struct mem_backing_config){ .kind = MEM_BACKING_RAM, .size = RAM, .share = true });
	shared(&(struct mem_backing_config){ .kind = MEM_BACKING_FILE, .size = RAM, .path = path, .share = true });
	unlink(path);
}

/* ---- one moment ---- */

struct moment {
	struct saver *s;
	bool ok;
	GError *error;
};

static gpointer serve(gpointer opaque)
{
	struct moment *m = opaque;

	m->ok = saver_serve(m->s, &m->error);
	return NULL;
}

static void moment(void **state)
{
	struct rig r = make_rig(new_file()), then = make_rig(-1);
	struct moment m = { .s = saver_new_for(r.mem, description, r.fd, SAVED_FILE) };
	g_autoptr(GByteArray) bytes = a_state();
	g_autoptr(GError) error = NULL;
	GThread *thread;

	fill(&r, 0, RAM, 1);
	fill(&r, HIGH, 10 * PAGE, 2);
	if (!saver_register(m.s, &error)) {
		assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_UNSUPPORTED));
		saver_free(m.s);
		free_rig(&r);
		free_rig(&then);
		skip();
	}
	assert_true(saver_begin(m.s, &error) && saver_protect(m.s, &error));
	assert_false(mem_discard(r.mem, 0, PAGE));
	thread = g_thread_new("serve", serve, &m);
	/* Before the moment: that counts. */
	fill(&r, 3 * PAGE, PAGE, 77);
	fill(&r, HIGH + RAM - PAGE, PAGE, 78);
	r.video->host[5] = 1;
	memcpy(gpa_ptr(then.mem, 0, RAM), gpa_ptr(r.mem, 0, RAM), RAM);
	memcpy(gpa_ptr(then.mem, HIGH, RAM), gpa_ptr(r.mem, HIGH, RAM), RAM);
	memcpy(then.video->host, r.video->host, VIDEO);
	assert_true(saver_seal(m.s, &error));
	/* After it: that does not. */
	for (uint64_t at = 0; at < RAM; at += PAGE) {
		fill(&r, HIGH + RAM - PAGE - at, 8, 99);
		fill(&r, at, 8, 98);
	}
	memset(r.video->host, 7, VIDEO);
	g_thread_join(thread);
	assert_true(m.ok);
	assert_true(saver_finish_sealed(m.s, bytes, false, &error));
	saver_free(m.s);
	assert_true(mem_discard(r.mem, 0, PAGE));
	check_loaded(&then, r.fd, true, false);
	close(r.fd);
	free_rig(&r);
	free_rig(&then);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stream), cmocka_unit_test(file), cmocka_unit_test(display_and_saver),
		cmocka_unit_test(cancelled), cmocka_unit_test(cancelled_late),
		cmocka_unit_test(shared_memory), cmocka_unit_test(moment),
	};

	saved_keep_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
