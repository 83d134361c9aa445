/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio console as its driver sees it; the character device is this file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "bytes.h"
#include "char.h"
#include "virtio-rig.h"

enum { RX, TX, BUFFER = RIG_DATA };

/* char.h over a string; it replaces the library's functions in this program. */
static GString *output;
static bool writable;
static unsigned resumed;
static bool connected; /* somebody at the ports' other side */

void char_attach(struct chardev *c, const struct char_client *client, void *opaque)
{
	c->client = client;
	c->client_opaque = opaque;
}

void char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	g_string_append_len(output, (const char *)data, len);
}

bool char_writable(struct chardev *c)
{
	return writable;
}

struct chardev *char_open(const char *spec, GError **error)
{
	return NULL;
}

void char_close(struct chardev *c)
{
}

bool char_connected(struct chardev *c)
{
	return connected;
}

void char_resume(struct chardev *c)
{
	resumed++;
}

struct console_test {
	struct rig r;
	struct chardev chr, agent;
	struct device_port port;
	struct device_backend backend;
};

static void open_console(struct console_test *t, const char *options)
{
	memset(t, 0, sizeof(*t));
	output = g_string_new(NULL);
	writable = true;
	resumed = 0;
	t->backend.chardev = &t->chr;
	rig_open(&t->r, "virtio-console", options ? g_variant_new_parsed(options) : NULL, &t->backend);
}

static void close_console(struct console_test *t)
{
	rig_close(&t->r);
	assert_null(t->chr.client);
	g_string_free(output, TRUE);
}

static void start(struct console_test *t, uint64_t features)
{
	assert_true(rig_negotiate(&t->r, features));
	rig_queue(&t->r, RX, 8);
	rig_queue(&t->r, TX, 8);
	rig_driver_ok(&t->r);
	rig_run();
}

static void type(struct console_test *t, const char *text)
{
	assert_true(t->chr.client->can_receive(t->chr.client_opaque) >= strlen(text));
	t->chr.client->receive(t->chr.client_opaque, (const uint8_t *)text, strlen(text));
}

static void test_output(void **state)
{
	struct console_test t;
	struct ring_buf b[] = { { BUFFER, 6, false }, { BUFFER + 100, 6, false } };

	open_console(&t, "{'columns': <uint32 132>, 'rows': <uint32 43>}");
	assert_int_equal(rig_read(&t.r, t.r.config + 2, 2), 0x1040 + VIRTIO_ID_CONSOLE);
	assert_int_equal(rig_read(&t.r, t.r.device, 4), 132 | 43 << 16);
	assert_true(rig_offered(&t.r) & 1 << VIRTIO_CONSOLE_F_SIZE);
	/* A letter without any queue. */
	rig_write(&t.r, t.r.device + offsetof(struct virtio_console_config, emerg_wr), 4, '!');
	assert_string_equal(output->str, "!");
	start(&t, 1 << VIRTIO_CONSOLE_F_SIZE);
	memcpy(t.r.ram + BUFFER, "hello ", 6);
	memcpy(t.r.ram + BUFFER + 100, "world\n", 6);
	assert_int_equal(rig_request(&t.r, TX, b, 2), 0);
	assert_string_equal(output->str, "!hello world\n");
	close_console(&t);
}

/* While the host is full the guest's output stays in the ring. */
static void test_back_pressure(void **state)
{
	struct console_test t;
	struct ring_buf b = { BUFFER, 5, false };

	open_console(&t, NULL);
	start(&t, 0);
	memcpy(t.r.ram + BUFFER, "later", 5);
	writable = false;
	assert_true(ring_add(&t.r.ring[TX], &b, 1, 0, &t));
	rig_kick(&t.r, TX);
	assert_null(ring_get(&t.r.ring[TX], NULL));
	assert_string_equal(output->str, "");
	writable = true;
	for (unsigned i = 0; i < 60000 && !output->len; i++) {
		g_usleep(1000);
		rig_run();
	}
	assert_string_equal(output->str, "later");
	assert_ptr_equal(ring_get(&t.r.ring[TX], NULL), &t);
	close_console(&t);
}

/* Output is as long as the guest wants, which has little memory for that: the main loop has its turn all the same. */
static void test_long_output(void **state)
{
	struct console_test t;
	struct ring_buf b[17];

	for (unsigned i = 0; i < G_N_ELEMENTS(b); i++)
		b[i] = (struct ring_buf){ 0, RIG_RAM, false };
	open_console(&t, NULL);
	assert_true(rig_negotiate(&t.r, 0));
	rig_queue(&t.r, RX, 8);
	rig_queue(&t.r, TX, 64);
	rig_driver_ok(&t.r);
	rig_run();
	for (unsigned i = 0; i < 8; i++)
		assert_true(ring_add(&t.r.ring[TX], b, 2, 0, &t));
	rig_write(&t.r, t.r.notify + t.r.notify_multiplier * TX, 2, TX);
	while (!output->len)
		g_main_context_iteration(NULL, TRUE);
	assert_in_range(output->len, 1, 6 * RIG_RAM);
	rig_run();
	assert_int_equal(output->len, 16 * RIG_RAM);
	for (unsigned i = 0; i < 8; i++)
		assert_ptr_equal(ring_get(&t.r.ring[TX], NULL), &t);
	assert_true(ring_add(&t.r.ring[TX], b, G_N_ELEMENTS(b), 0, &t));
	rig_kick(&t.r, TX);
	assert_int_equal(output->len, 16 * RIG_RAM);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	close_console(&t);
}

static void test_input(void **state)
{
	struct console_test t;
	struct ring_buf b[] = { { BUFFER, 4, true }, { BUFFER + 100, 4, true } };
	uint32_t len;

	open_console(&t, NULL);
	type(&t, "ab"); /* before there is a driver: kept for it */
	start(&t, 1ull << VIRTIO_RING_F_EVENT_IDX);
	type(&t, "cdef");
	assert_true(ring_add(&t.r.ring[RX], b, 1, 0, &b[0]));
	rig_kick(&t.r, RX);
	assert_ptr_equal(ring_get(&t.r.ring[RX], &len), &b[0]);
	assert_int_equal(len, 4);
	assert_memory_equal(t.r.ram + BUFFER, "abcd", 4);
	/* The rest survives a move. */
	rig_move(&t.r, "virtio-console", NULL, &t.backend);
	assert_true(ring_add(&t.r.ring[RX], b + 1, 1, 0, &b[1]));
	ring_arm(&t.r.ring[RX]);
	rig_kick(&t.r, RX);
	assert_ptr_equal(ring_get(&t.r.ring[RX], &len), &b[1]);
	assert_int_equal(len, 2);
	assert_memory_equal(t.r.ram + BUFFER + 100, "ef", 2);
	close_console(&t);
}

static void test_input_full(void **state)
{
	struct console_test t;
	struct ring_buf b = { BUFFER, 1000, true };
	char text[1025];
	uint32_t len;

	open_console(&t, NULL);
	start(&t, 0);
	memset(text, 'x', 1024);
	text[1024] = 0;
	for (unsigned i = 0; i < 4; i++)
		type(&t, text);
	assert_int_equal(t.chr.client->can_receive(t.chr.client_opaque), 0);
	assert_int_equal(resumed, 0);
	assert_true(ring_add(&t.r.ring[RX], &b, 1, 0, &b));
	rig_kick(&t.r, RX);
	assert_non_null(ring_get(&t.r.ring[RX], &len));
	assert_int_equal(len, 1000);
	assert_int_equal(resumed, 1);
	assert_int_equal(t.chr.client->can_receive(t.chr.client_opaque), 1000);
	/* A readable chain where a writable one belongs. */
	b.writable = false;
	assert_true(ring_add(&t.r.ring[RX], &b, 1, 0, &b));
	rig_kick(&t.r, RX);
	assert_true(rig_status(&t.r) & VIRTIO_CONFIG_S_NEEDS_RESET);
	close_console(&t);
}

/* ---- ports with names ---- */

enum { CONTROL_RX = 2, CONTROL_TX, AGENT_RX, AGENT_TX };

static GString *notices;

static void notice(void *machine, enum machine_notice what, const char *name, uint32_t on)
{
	assert_int_equal(what, NOTICE_PORT);
	g_string_append_printf(notices, "%s %s;", name, on ? "open" : "closed");
}

static void open_ports(struct console_test *t)
{
	memset(t, 0, sizeof(*t));
	output = g_string_new(NULL);
	notices = g_string_new(NULL);
	writable = true;
	connected = false;
	t->port = (struct device_port){ &t->agent, "org.kvasir.agent", "channel0" };
	t->backend = (struct device_backend){ .chardev = &t->chr, .ports = &t->port, .n_ports = 1 };
	rig_open(&t->r, "virtio-console", NULL, &t->backend);
	t->r.core.notice = notice;
	assert_int_equal(rig_read(&t->r, t->r.device + 4, 4), 2);
	assert_true(rig_negotiate(&t->r, 1 << VIRTIO_CONSOLE_F_MULTIPORT));
	for (unsigned i = 0; i < 6; i++)
		rig_queue(&t->r, i, 8);
	rig_driver_ok(&t->r);
	rig_run();
}

static void close_ports(struct console_test *t)
{
	rig_close(&t->r);
	assert_null(t->agent.client);
	g_string_free(output, TRUE);
	g_string_free(notices, TRUE);
}

static void say(struct console_test *t, uint32_t id, uint16_t event, uint16_t value)
{
	struct ring_buf b = { BUFFER + 0x8000, 8, false };
	uint8_t *m = t->r.ram + b.gpa;

	put_le32(m, id);
	put_le16(m + 4, event);
	put_le16(m + 6, value);
	rig_request(&t->r, CONTROL_TX, &b, 1);
}

/* The next message, "id event value name"; "" when there is none. */
static const char *hear(struct console_test *t)
{
	static char text[100];
	struct ring_buf b = { BUFFER + 0x9000, 64, true };
	const uint8_t *m = t->r.ram + b.gpa;
	uint32_t len;

	/* One buffer is always there. */
	if (!ring_get(&t->r.ring[CONTROL_RX], &len))
		return "";
	assert_true(len >= 8);
	g_snprintf(text, sizeof(text), "%u %u %u %.*s", get_le32(m), get_le16(m + 4), get_le16(m + 6), (int)len - 8, m + 8);
	assert_true(ring_add(&t->r.ring[CONTROL_RX], &b, 1, 0, t));
	ring_arm(&t->r.ring[CONTROL_RX]);
	rig_kick(&t->r, CONTROL_RX);
	return text;
}

static void listen_to(struct console_test *t)
{
	struct ring_buf b = { BUFFER + 0x9000, 64, true };

	assert_true(ring_add(&t->r.ring[CONTROL_RX], &b, 1, 0, t));
	rig_kick(&t->r, CONTROL_RX);
}

static void test_ports(void **state)
{
	struct ring_buf out = { BUFFER, 5, false }, in = { BUFFER + 100, 10, true };
	struct console_test t;
	uint32_t len;

	open_ports(&t);
	listen_to(&t);
	/* A driver that asks again and again is told once more, not a thousand times. */
	for (unsigned i = 0; i < 1000; i++)
		say(&t, ~0u, VIRTIO_CONSOLE_DEVICE_READY, 1);
	assert_string_equal(hear(&t), "0 1 1 ");
	while (*hear(&t))
		continue;
	say(&t, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_string_equal(hear(&t), "0 4 1 ");
	assert_string_equal(hear(&t), "0 6 0 ");
	say(&t, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	assert_string_equal(hear(&t), "1 7 1 org.kvasir.agent");
	assert_string_equal(hear(&t), "1 6 0 ");
	assert_string_equal(hear(&t), "");
	t.agent.client->connected(t.agent.client_opaque, true);
	rig_run();
	assert_string_equal(hear(&t), "1 6 1 ");
	/* Nobody has opened it: the host waits. */
	assert_int_equal(t.agent.client->can_receive(t.agent.client_opaque), 0);
	say(&t, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(&t, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_string_equal(notices->str, "channel0 open;");
	assert_int_equal(t.agent.client->can_receive(t.agent.client_opaque), 4096);
	memcpy(t.r.ram + BUFFER, "hello", 5);
	rig_request(&t.r, AGENT_TX, &out, 1);
	assert_string_equal(output->str, "hello");
	t.agent.client->receive(t.agent.client_opaque, (const uint8_t *)"answer", 6);
	assert_true(ring_add(&t.r.ring[AGENT_RX], &in, 1, 0, &in));
	rig_kick(&t.r, AGENT_RX);
	assert_ptr_equal(ring_get(&t.r.ring[AGENT_RX], &len), &in);
	assert_int_equal(len, 6);
	assert_memory_equal(t.r.ram + BUFFER + 100, "answer", 6);
	/* Ports that are not there, events that are none. */
	say(&t, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	say(&t, 77, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(&t, 1, 99, 1);
	assert_string_equal(hear(&t), "");
	rig_reset(&t.r);
	assert_string_equal(notices->str, "channel0 open;channel0 closed;");
	close_ports(&t);
}

/* The host's side is another one after a move: the driver is told. */
static void test_ports_move(void **state)
{
	struct console_test t;

	open_ports(&t);
	listen_to(&t);
	t.agent.client->connected(t.agent.client_opaque, true);
	rig_run();
	assert_string_equal(hear(&t), "1 6 1 ");
	say(&t, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	rig_move(&t.r, "virtio-console", NULL, &t.backend);
	assert_string_equal(hear(&t), "1 6 0 ");
	close_ports(&t);
}

/* Names and numbers of ports that cannot be. */
static void test_ports_refused(void **state)
{
	static const char *const names[] = { "", "a/b", "same" };
	struct console_test t;

	open_ports(&t);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		struct device_port ports[32];
		struct device_backend backend = { .ports = ports, .n_ports = 2 };
		g_autoptr(GError) error = NULL;

		for (unsigned k = 0; k < 32; k++)
			ports[k] = (struct device_port){ &t.agent, names[i], "x" };
		assert_null(device_new(&t.r.core, "virtio-console", "no", NULL, &backend, &error));
		assert_non_null(strstr(error->message, "channel"));
		backend.n_ports = 31;
		g_clear_error(&error);
		assert_null(device_new(&t.r.core, "virtio-console", "no", NULL, &backend, &error));
		assert_non_null(strstr(error->message, "room for 30"));
	}
	close_ports(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_long_output),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_input_full),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_ports_move),
		cmocka_unit_test(test_ports_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
