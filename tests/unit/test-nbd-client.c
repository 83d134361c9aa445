/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks in NBD exports through queues: what is read and written, beside synchronous users, drains, and a server that goes. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "image-rig.h"
#include "listen.h"
#include "nbd-server.h"

enum {
	DISK = 8 << 20,
	BLOCK = 4096,
	DEPTH = 16,
	ROUNDS = 3000,
};

/* ---- a server: this program anew, as clients and servers of one process would share the queues' threads ---- */

struct service {
	GPid pid;
};

static struct image *open_image(const char *file, const char *format)
{
	g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>}", file, format);
	g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));
	GError *error = NULL;
	struct image *i = image_open(options, &error);

	if (!i)
		fail_msg("%s", error->message);
	return i;
}

static int serve(const char *socket, const char *disk)
{
	const struct nbd_server_options o = {};
	const struct nbd_export_options e = { .name = "", .writable = true };
	struct nbd_server *server = nbd_server_new(NULL, &o, NULL);
	int fd = kv_listen_unix("socket", socket, NULL);

	if (fd < 0 || !nbd_export_add(server, open_image(disk, "raw"), &e, NULL))
		return 1;
	nbd_server_listen(server, fd);
	for (;;)
		g_main_context_iteration(NULL, TRUE);
}

static bool listens(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes;

	g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
	yes = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	close(fd);
	return yes;
}

static void start_service(struct service *s)
{
	g_autofree char *disk = rig_path("disk"), *path = rig_path("socket"), *self = g_file_read_link("/proc/self/exe", NULL);
	char *words[] = { self, path, disk, NULL };

	assert_true(g_file_set_contents(disk, "", 0, NULL));
	assert_int_equal(truncate(disk, DISK + DISK / 2), 0);
	assert_true(g_spawn_async(NULL, words, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &s->pid, NULL));
	while (!listens(path)) {
		assert_int_equal(waitpid(s->pid, NULL, WNOHANG), 0);
		g_usleep(1000);
	}
}

static void stop_service(struct service *s)
{
	g_autofree char *path = rig_path("socket");

	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	unlink(path);
}

static char *uri(void)
{
	g_autofree char *path = rig_path("socket");

	return g_strdup_printf("nbd+unix:///?socket=%s", path);
}

static struct image *open_export(const char *format)
{
	g_autofree char *name = uri();

	if (strcmp(format, "raw") != 0) {
		g_autofree char *text = g_strdup_printf("{'file': <'%s'>, 'format': <'%s'>, 'size': <uint64 %u>}", name, format,
							DISK);
		g_autoptr(GVariant) options = g_variant_ref_sink(g_variant_new_parsed(text));

		assert_true(image_create(options, NULL));
	}
	return open_image(name, format);
}

/* ---- bytes ---- */

static void check_random(const char *format)
{
	g_autofree uint8_t *model = g_malloc0(DISK);
	GRand *rand = g_rand_new_with_seed(1);
	struct service s;
	struct image_queue *q;
	struct image *img;

	start_service(&s);
	img = open_export(format);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	assert_true(rig_random(img, q, rand, model, 0, DISK, 300));
	image_queue_free(q);
	if (strcmp(format, "qcow2") == 0)
		rig_busy(img, 64 << 10, 20);
	image_close(img);
	stop_service(&s);
	g_rand_free(rand);
}

static void test_random_raw(void **state)
{
	check_random("raw");
}

static void test_random_qcow2(void **state)
{
	check_random("qcow2");
}

/* ---- many at once ---- */

static uint8_t value_at(uint64_t block)
{
	return block * 7 + block / 256 + 1;
}

static void fill(struct image *img)
{
	g_autofree uint8_t *data = g_malloc(DISK);

	for (uint64_t i = 0; i < DISK / BLOCK; i++)
		memset(data + i * BLOCK, value_at(i), BLOCK);
	assert_int_equal(image_write(img, 0, data, DISK), 0);
}

struct slot {
	struct user *user;
	struct image_req req;
	struct iovec iov[2];
	uint8_t data[BLOCK];
	bool idle;
};

/* Somebody who reads: through a queue of his own, or synchronously. */
struct user {
	struct image *img;
	bool queued;
	unsigned seed, bad;
	GThread *thread;
};

static bool right(const uint8_t *data, uint64_t offset)
{
	return data[0] == value_at(offset / BLOCK) && memcmp(data, data + 1, BLOCK - 1) == 0;
}

static void on_read(struct image_req *req, int res)
{
	struct slot *s = req->opaque;

	s->idle = true;
	s->user->bad += res < 0 || !right(s->data, req->offset);
}

static void submit(struct image_queue *q, struct slot *s, GRand *rand)
{
	unsigned n = g_rand_boolean(rand) ? 1 : 2;

	s->iov[0] = (struct iovec){ s->data, BLOCK / n };
	s->iov[1] = (struct iovec){ s->data + BLOCK / 2, BLOCK / 2 };
	s->req = (struct image_req){ .op = IMAGE_READ, .iov = s->iov, .n_iov = n, .len = BLOCK, .complete = on_read, .opaque = s,
				     .offset = (uint64_t)g_rand_int_range(rand, 0, DISK / BLOCK) * BLOCK };
	s->idle = false;
	image_submit(q, &s->req);
}

static bool all_idle(const struct slot *slots)
{
	for (unsigned i = 0; i < DEPTH; i++)
		if (!slots[i].idle)
			return false;
	return true;
}

/* Now and then down to nothing: the socket is then somebody else's. */
static void read_queued(struct user *u, GMainContext *context, GRand *rand)
{
	struct image_queue *q = image_queue_new(u->img, context, DEPTH, NULL);
	g_autofree struct slot *slots = g_new0(struct slot, DEPTH);

	for (unsigned i = 0; i < DEPTH; i++)
		slots[i] = (struct slot){ .user = u, .idle = true };
	for (unsigned n = 0; n < ROUNDS || !all_idle(slots);) {
		bool empty = n % 100 > 80 && !all_idle(slots);

		for (unsigned i = 0; i < DEPTH && n < ROUNDS && !empty; i++)
			if (slots[i].idle) {
				submit(q, &slots[i], rand);
				n++;
			}
		image_kick(q);
		g_main_context_iteration(context, TRUE);
	}
	image_queue_free(q);
}

static void *use(void *opaque)
{
	struct user *u = opaque;
	GMainContext *context = g_main_context_new();
	GRand *rand = g_rand_new_with_seed(u->seed);
	uint8_t data[BLOCK];

	if (u->queued)
		read_queued(u, context, rand);
	for (unsigned i = 0; i < ROUNDS && !u->queued; i++) {
		uint64_t offset = (uint64_t)g_rand_int_range(rand, 0, DISK / BLOCK) * BLOCK;

		u->bad += image_read(u->img, offset, data, BLOCK) < 0 || !right(data, offset);
	}
	g_rand_free(rand);
	g_main_context_unref(context);
	return NULL;
}

static void check_together(bool drain)
{
	struct user users[] = { { .queued = true }, { .queued = true }, {}, {} };
	struct service s;
	struct image *img;

	start_service(&s);
	img = open_export("qcow2");
	fill(img);
	for (unsigned i = 0; i < G_N_ELEMENTS(users); i++) {
		users[i].img = img;
		users[i].seed = i;
		users[i].thread = g_thread_new("user", use, &users[i]);
	}
	for (unsigned i = 0; i < 50 && drain; i++) {
		image_drain_begin(img);
		image_drain_end(img);
		image_lock_out(img);
		image_let_in(img);
		g_usleep(500);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(users); i++) {
		g_thread_join(users[i].thread);
		assert_int_equal(users[i].bad, 0);
	}
	image_close(img);
	stop_service(&s);
}

static void test_together(void **state)
{
	check_together(false);
}

static void test_drain(void **state)
{
	check_together(true);
}

/* Requests of a thread that does not run the context, which sleeps. */
static void *submit_all(void *opaque)
{
	struct rig_wait *w = opaque;

	g_usleep(5000);
	for (unsigned i = 0; i < DEPTH; i++)
		image_submit(w[i].req.opaque, &w[i].req);
	return NULL;
}

static unsigned n_over;

static void on_over(struct image_req *req, int res)
{
	assert_int_equal(res, 0);
	n_over++;
}

static void test_other_thread(void **state)
{
	static uint8_t data[DEPTH][BLOCK];
	struct rig_wait w[DEPTH];
	struct service s;
	struct image_queue *q;
	struct image *img;

	start_service(&s);
	img = open_export("raw");
	fill(img);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	for (unsigned round = 1; round <= 10; round++) {
		GThread *thread;

		for (unsigned i = 0; i < DEPTH; i++) {
			w[i].iov[0] = (struct iovec){ data[i], BLOCK };
			w[i].req = (struct image_req){ .op = IMAGE_READ, .iov = w[i].iov, .n_iov = 1, .offset = i * BLOCK,
						       .len = BLOCK, .complete = on_over, .opaque = q };
		}
		thread = g_thread_new("submitter", submit_all, w);
		while (n_over < round * DEPTH)
			g_main_context_iteration(NULL, TRUE);
		g_thread_join(thread);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		assert_true(right(data[i], i * BLOCK));
	image_queue_free(q);
	image_close(img);
	stop_service(&s);
}

/* ---- a server that goes ---- */

static void test_lost(void **state)
{
	static uint8_t data[DEPTH][1 << 20];
	struct rig_wait w[DEPTH], last = { .iov[0] = { data[0], BLOCK },
					   .req = { .op = IMAGE_READ, .iov = last.iov, .n_iov = 1, .len = BLOCK } };
	struct service s;
	struct image_queue *q;
	struct image *img;

	start_service(&s);
	img = open_export("raw");
	fill(img);
	q = image_queue_new(img, NULL, DEPTH, NULL);
	for (unsigned i = 0; i < DEPTH; i++) {
		w[i].iov[0] = (struct iovec){ data[i], sizeof(data[i]) };
		w[i].req = (struct image_req){ .op = i % 2 ? IMAGE_READ : IMAGE_WRITE, .iov = w[i].iov, .n_iov = 1,
					       .len = sizeof(data[i]) };
		rig_start(q, &w[i]);
	}
	stop_service(&s);
	for (unsigned i = 0; i < DEPTH; i++) {
		while (!w[i].over)
			g_main_context_iteration(NULL, TRUE);
		assert_true(w[i].res <= 0);
	}
	assert_true(w[DEPTH - 1].res < 0);
	rig_start(q, &last);
	while (!last.over)
		g_main_context_iteration(NULL, TRUE);
	assert_true(last.res < 0);
	while (g_main_context_iteration(NULL, FALSE)) /* ends: nothing is ready for ever */
		;
	image_queue_free(q);
	image_close(img);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_raw), cmocka_unit_test(test_random_qcow2), cmocka_unit_test(test_together),
		cmocka_unit_test(test_drain),	   cmocka_unit_test(test_other_thread), cmocka_unit_test(test_lost),
	};

	if (argc == 3)
		return serve(argv[1], argv[2]);
	return cmocka_run_group_tests_name("nbd-client", tests, rig_setup, rig_teardown);
}
