/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See jobs-rig.h. */
#include "jobs-rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "image-rig.h"

enum { SECTOR = 512, BATCH = 4, REQUEST_MAX = 96 << 10, DEPTH = 32 };

/* ---- images ---- */

static GVariant *parse(const char *format, ...) G_GNUC_PRINTF(1, 2);
static GVariant *parse(const char *format, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	return g_variant_ref_sink(g_variant_new_parsed(text));
}

static void create(GVariant *options)
{
	GError *error = NULL;

	if (!image_create(options, &error))
		fail_msg("%s", error->message);
}

static struct image *open_options(GVariant *options)
{
	GError *error = NULL;
	struct image *img = image_open(options, &error);

	if (!img)
		fail_msg("%s", error->message);
	return img;
}

struct image *open_image(const char *path, const char *format, bool readonly)
{
	g_autoptr(GVariant) o =
		parse("{'file': <'%s'>, 'format': <'%s'>, 'readonly': <%s>}", path, format, readonly ? "true" : "false");

	return open_options(o);
}

struct image *new_image(const char *name, const char *format, const char *options, uint64_t size)
{
	g_autofree char *path = rig_path(name);
	g_autoptr(GVariant) o = parse("{'file': <'%s'>, 'format': <'%s'>, 'size': <uint64 %" G_GUINT64_FORMAT ">%s%s}", path,
				      format, size, *options ? ", " : "", options);

	create(o);
	return open_image(path, format, false);
}

/* Data, zeroes, compressed clusters; a third of it stays as it was. */
void scribble(struct image *img, GRand *rand, unsigned n)
{
	while (n--) {
		uint64_t len = SECTOR * g_rand_int_range(rand, 1, REQUEST_MAX / SECTOR);
		uint64_t offset = SECTOR * g_rand_int_range(rand, 0, (img->size - len) / SECTOR);
		g_autofree uint8_t *buf = g_malloc(len);

		rig_fill(rand, buf, len);
		switch (g_rand_int_range(rand, 0, 6)) {
		case 0:
			assert_int_equal(image_write_zeroes(img, offset, len, IMAGE_MAY_UNMAP), 0);
			break;
		case 1:
			if (img->format->write_compressed) {
				uint64_t cluster = img->format->cluster_size(img);

				offset = offset / cluster * cluster;
				len = MIN(cluster, img->size - offset);
				buf = g_realloc(buf, cluster);
				memset(buf, g_rand_int(rand), cluster);
				assert_int_equal(image_write_compressed(img, offset, buf, len), 0);
				break;
			}
			/* fall through */
		default:
			assert_int_equal(image_write(img, offset, buf, len), 0);
		}
	}
}

static struct image *find_layer(struct image *img, unsigned depth)
{
	while (depth--)
		img = img->backing;
	return img;
}

void chain_make(struct chain *c, const struct chain_spec *spec, GRand *rand)
{
	*c = (struct chain){ .n = spec->n };
	for (unsigned i = 0; i < spec->n; i++) {
		g_autofree char *name = g_strdup_printf("layer%u", i), *backing = NULL;
		g_autoptr(GVariant) o = NULL;
		struct image *img;

		c->path[i] = rig_path(name);
		if (i)
			backing = g_strdup_printf(", 'backing': <'layer%u'>, 'backing-format': <'%s'>", i - 1,
						  spec->format[i - 1]);
		o = parse("{'file': <'%s'>, 'format': <'%s'>, 'size': <uint64 %" G_GUINT64_FORMAT ">%s%s%s}", c->path[i],
			  spec->format[i], spec->size[i], spec->options[i] && *spec->options[i] ? ", " : "",
			  spec->options[i] ? spec->options[i] : "", backing ? backing : "");
		create(o);
		img = open_image(c->path[i], spec->format[i], false);
		scribble(img, rand, 30);
		image_close(img);
	}
	c->layer[c->n - 1] = open_image(c->path[c->n - 1], spec->format[c->n - 1], false);
	for (unsigned i = 0; i + 1 < c->n; i++)
		c->layer[i] = image_ref(find_layer(c->layer[c->n - 1], c->n - 1 - i));
}

void chain_close(struct chain *c)
{
	for (unsigned i = c->n; i-- > 0;) {
		image_close(c->layer[i]);
		g_free(c->path[i]);
	}
}

uint8_t *contents(struct image *img)
{
	uint8_t *buf = g_malloc(img->size);

	assert_int_equal(image_read(img, 0, buf, img->size), 0);
	return buf;
}

void expect_contents(struct image *img, const uint8_t *bytes, uint64_t len)
{
	g_autofree uint8_t *buf = contents(img);

	for (uint64_t i = memcmp(buf, bytes, len) ? 0 : len; i < len; i++)
		if (buf[i] != bytes[i])
			fail_msg("%s: byte %#" G_GINT64_MODIFIER "x is %#x, not %#x", img->path, i, buf[i], bytes[i]);
}

static void print_line(void *opaque, const char *text)
{
	g_string_append_printf(opaque, "%s\n", text);
}

void expect_clean(struct image *img, bool leaks)
{
	g_autoptr(GString) text = g_string_new(NULL);
	struct image_check r;
	GError *error = NULL;

	if (!img->format->check)
		return;
	assert_true(img->format->check(img, 0, print_line, text, &r, &error));
	if (r.corruptions || r.check_errors || (r.leaks && !leaks))
		fail_msg("%s: %s", img->path, text->str);
}

/* ---- a guest ---- */

static struct guest *guests;

struct slot {
	struct image_req req;
	struct iovec iov;
	uint8_t *data;
	bool over;
	int res;
};

static void on_complete(struct image_req *req, int res)
{
	struct slot *s = req->opaque;

	s->res = res;
	s->over = true;
}

static void submit(struct guest *g, struct slot *s, enum image_op op, uint64_t offset, uint64_t len)
{
	bool sized = op == IMAGE_READ || op == IMAGE_WRITE;

	s->iov = (struct iovec){ s->data, len };
	s->req = (struct image_req){ .op = op, .offset = op == IMAGE_FLUSH ? 0 : offset, .len = op == IMAGE_FLUSH ? 0 : len,
				     .flags = op == IMAGE_WRITE_ZEROES ? IMAGE_MAY_UNMAP : 0, .iov = &s->iov, .n_iov = sized,
				     .complete = on_complete, .opaque = s };
	s->over = false;
	image_submit(g->q, &s->req);
}

static void wait_for(struct guest *g, struct slot *s)
{
	image_kick(g->q);
	while (!s->over)
		g_main_context_iteration(g->context, TRUE);
	if (s->res < 0 && !g->errors_are_fine && !(s->req.op == IMAGE_DISCARD && s->res == -ENOTSUP))
		g_error("guest: operation %d at %" G_GUINT64_FORMAT ": %s", s->req.op, s->req.offset, g_strerror(-s->res));
}

/* After its end: what the disk has there is what it should have, and goes to the model. */
static void settle(struct guest *g, struct slot *s)
{
	enum image_op op = s->req.op;
	uint64_t offset = s->req.offset, len = s->req.len;
	bool either = op == IMAGE_DISCARD || (s->res < 0 && op != IMAGE_READ);
	g_autofree uint8_t *want = NULL;

	if (op == IMAGE_FLUSH || (op == IMAGE_READ && s->res < 0))
		return;
	want = op == IMAGE_WRITE ? g_memdup2(s->data, len) : g_malloc0(len);
	if (either) {
		submit(g, s, IMAGE_READ, offset, len);
		wait_for(g, s);
		for (uint64_t i = memcmp(s->data, want, len) ? 0 : len; i < len; i++)
			if (s->data[i] != want[i] && s->data[i] != g->model[offset + i])
				g_error("guest: byte %#" G_GINT64_MODIFIER "x is neither what it was nor what was written",
					offset + i);
		memcpy(g->model + offset, s->data, len);
	} else if (op == IMAGE_READ) {
		for (uint64_t i = memcmp(s->data, g->model + offset, len) ? 0 : len; i < len; i++)
			if (s->data[i] != g->model[offset + i])
				g_error("guest: byte %#" G_GINT64_MODIFIER "x is %#x, not %#x", offset + i, s->data[i],
					g->model[offset + i]);
	} else {
		memcpy(g->model + offset, want, len);
	}
}

static gpointer guest_main(gpointer data)
{
	static const enum image_op ops[] = { IMAGE_READ,  IMAGE_READ,  IMAGE_READ,  IMAGE_WRITE,   IMAGE_WRITE,
					     IMAGE_WRITE, IMAGE_WRITE, IMAGE_FLUSH, IMAGE_DISCARD, IMAGE_WRITE_ZEROES };
	struct guest *g = data;
	struct slot slots[BATCH] = {};
	uint64_t part = g->size / BATCH / SECTOR;

	g_main_context_push_thread_default(g->context);
	for (unsigned i = 0; i < BATCH; i++)
		slots[i].data = g_malloc(REQUEST_MAX);
	while (!__atomic_load_n(&g->stop, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < BATCH; i++) {
			enum image_op op = ops[g_rand_int_range(g->rand, 0, G_N_ELEMENTS(ops))];
			uint64_t len = g_rand_int_range(g->rand, 1, MIN(REQUEST_MAX / SECTOR, part));
			uint64_t at = i * part + g_rand_int_range(g->rand, 0, part - len + 1);

			rig_fill(g->rand, slots[i].data, op == IMAGE_WRITE ? len * SECTOR : 0);
			submit(g, slots + i, op, at * SECTOR, len * SECTOR);
		}
		for (unsigned i = 0; i < BATCH; i++)
			wait_for(g, slots + i);
		for (unsigned i = 0; i < BATCH; i++)
			settle(g, slots + i);
		__atomic_add_fetch(&g->rounds, 1, __ATOMIC_RELEASE);
		g_usleep(__atomic_load_n(&g->pause_us, __ATOMIC_RELAXED));
	}
	for (unsigned i = 0; i < BATCH; i++)
		g_free(slots[i].data);
	g_main_context_pop_thread_default(g->context);
	return NULL;
}

struct guest *guest_start(struct image *img, unsigned seed)
{
	struct guest *g = g_new0(struct guest, 1);
	GError *error = NULL;

	g->context = g_main_context_new();
	g->q = image_queue_new(img, g->context, DEPTH, &error);
	assert_non_null(g->q);
	g->size = img->size;
	g->model = contents(img);
	g->rand = g_rand_new_with_seed(seed);
	g->pause_us = 200;
	g->next = guests;
	guests = g;
	g->thread = g_thread_new("guest", guest_main, g);
	return g;
}

void guest_wait(struct guest *g, unsigned rounds)
{
	unsigned until = __atomic_load_n(&g->rounds, __ATOMIC_ACQUIRE) + rounds;

	while ((int)(__atomic_load_n(&g->rounds, __ATOMIC_ACQUIRE) - until) < 0)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(100);
}

void guest_stop(struct guest *g)
{
	struct guest **at = &guests;

	__atomic_store_n(&g->stop, 1, __ATOMIC_RELEASE);
	g_thread_join(g->thread);
	expect_contents(g->q->image, g->model, g->size);
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	image_queue_free(g->q);
	g_main_context_unref(g->context);
	g_rand_free(g->rand);
	g_free(g->model);
	g_free(g);
}

/* ---- jobs ---- */

unsigned rig_pivots;

static bool replace(void *opaque, struct image *from, struct image *to, GError **error)
{
	g_autofree uint8_t *bytes = contents(from);

	expect_contents(to, bytes, MIN(from->size, to->size));
	for (struct guest *g = guests; g; g = g->next)
		if (g->q->image == from)
			image_queue_set_image(g->q, to);
	rig_pivots++;
	return true;
}

const struct job_owner rig_owner = { .replace = replace };

static GString *events;

static void listen(void *opaque, const struct job_event *e)
{
	static const char *const names[] = { [JOB_EVENT_READY] = "READY",	  [JOB_EVENT_COMPLETED] = "COMPLETED",
					     [JOB_EVENT_CANCELLED] = "CANCELLED", [JOB_EVENT_PENDING] = "PENDING" };

	if (e->kind == JOB_EVENT_STATUS)
		g_string_append_printf(events, "%s ", job_status_name(e->job->status));
	else if (e->kind == JOB_EVENT_ERROR)
		g_string_append_printf(events, "ERROR:%s:%s ", e->is_read ? "read" : "write", job_action_name(e->action));
	else
		g_string_append_printf(events, "%s ", names[e->kind]);
}

void events_begin(void)
{
	if (!events)
		events = g_string_new(NULL);
	g_string_truncate(events, 0);
	job_set_listener(listen, NULL);
}

char *events_take(void)
{
	char *text = g_strdup(g_strchomp(events->str));

	g_string_truncate(events, 0);
	return text;
}

void job_wait(const char *id, enum job_status status)
{
	for (;;) {
		struct job *job = job_find(id);

		if ((!job && status == JOB_NULL) || (job && job->status == status))
			return;
		if (!job || (job->status >= JOB_WAITING && job->status > status))
			fail_msg("job %s is %s: %s", id, job ? job_status_name(job->status) : "gone",
				 job && job->error ? job->error : "");
		g_main_context_iteration(NULL, TRUE);
	}
}
