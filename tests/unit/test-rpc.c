/* SPDX-License-Identifier: GPL-2.0-or-later */
/* src/virt/rpc: every procedure's types there and back, bytes that are cut, wrong or too many, messages, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "bytes.h"
#include "error.h"
#include "message.h"
#include "rpc-rig.h"
#include "xdr.h"

static void assert_fails(GError **error)
{
	assert_non_null(*error);
	g_clear_error(error);
}

/* ---- the table ---- */

static void test_table(void **state)
{
	for (unsigned i = 0; i < rpc_n_procs; i++) {
		const struct rpc_proc *p = &rpc_procs[i];
		g_autofree char *args = xdr_variant_type(p->args), *ret = xdr_variant_type(p->ret);

		assert_ptr_equal(rpc_proc_find(p->program, p->number), p);
		assert_ptr_equal(rpc_proc_named(p->program, p->name), p);
		assert_true(g_variant_type_string_is_valid(args) && g_variant_type_string_is_valid(ret));
		assert_true(*args == '(' && *ret == '(');
		if (p->event)
			assert_string_equal(p->ret, "()");
	}
	assert_null(rpc_proc_find(RPC_REMOTE, 0));
	assert_null(rpc_proc_find(RPC_REMOTE, 100000));
	assert_null(rpc_proc_find(RPC_KEEPALIVE, 1));
	assert_null(rpc_proc_named(RPC_QEMU, "domain_create"));
	assert_int_equal(rpc_proc_named(RPC_REMOTE, "domain_create")->number, 9);
	assert_int_equal(rpc_proc_named(RPC_QEMU, "domain_agent_command")->number, 3);
}

/* ---- there and back ---- */

static void round_trip(struct rpc_rig *rig, const char *type)
{
	g_autoptr(GVariant) value = g_variant_ref_sink(rpc_rig_value(rig, type)), back = NULL;
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autoptr(GError) error = NULL;

	assert_true(xdr_encode(bytes, type, value, &error));
	assert_int_equal(bytes->len % 4, 0);
	back = xdr_decode(bytes->data, bytes->len, type, &error);
	assert_non_null(back);
	assert_true(g_variant_equal(value, back));
	/* Nothing shorter is a value, and nothing longer. */
	for (unsigned len = 0; len < bytes->len; len += 1 + len / 16) {
		assert_null(xdr_decode(bytes->data, len, type, &error));
		assert_fails(&error);
	}
	g_byte_array_append(bytes, (const guint8[4]){}, 4);
	assert_null(xdr_decode(bytes->data, bytes->len, type, &error));
	assert_fails(&error);
}

static void test_round_trips(void **state)
{
	struct rpc_rig rig = { .seed = 1, .list_max = 4 };

	for (unsigned i = 0; i < rpc_n_procs; i++)
		for (unsigned n = 0; n < 4; n++) {
			round_trip(&rig, rpc_procs[i].args);
			round_trip(&rig, rpc_procs[i].ret);
		}
	for (unsigned n = 0; n < 50; n++)
		round_trip(&rig, RPC_ERROR_TYPE);
}

/* As RFC 4506 writes them. */
static void test_bytes(void **state)
{
	static const guint8 want[] = {
		0xff, 0xff, 0xff, 0xfe,								      /* int -2 */
		0,    0,    0,	  5,	'h',  'e', 'l', 'l', 'o', 0, 0, 0,			      /* string */
		0,    0,    0,	  1,	0,    0,   0,	7,					      /* optional, there */
		0,    0,    0,	  0,								      /* optional, not there */
		0,    0,    0,	  2,	0,    0,   0,	0,   0,	  0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, /* two hypers */
		0x3f, 0xf8, 0,	  0,	0,    0,   0,	0,					      /* 1.5 */
		0,    0,    0,	  1,	0xab, 0,   0,	0,					      /* opaque */
		0,    0,    0,	  1,	'p',  0,   0,	0,   0,	  0, 0, 6, 0,	 0, 0, 1
	}; /* parameter p, a true */
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GError) error = NULL;
	const guint8 opaque = 0xab;
	const guint64 hypers[] = { 1, 1ULL << 63 };
	GVariant *v = g_variant_new(
		"(ismims@atd@ay(sv))", -2, "hello", TRUE, 7, NULL, g_variant_new_fixed_array(G_VARIANT_TYPE_UINT64, hypers, 2, 8),
		1.5, g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, &opaque, 1, 1), "p", g_variant_new_boolean(TRUE));

	assert_true(xdr_encode(out, "(is?i?saHdoT)", v, &error));
	assert_int_equal(out->len, sizeof(want));
	assert_memory_equal(out->data, want, sizeof(want));
}

static void test_model(void **state)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GVariant) back = NULL;

	/* 32 words whatever it is, 31 letters of it */
	assert_true(xdr_encode(out, "M", g_variant_new_string("a model's name that is far too long for it"), NULL));
	assert_int_equal(out->len, 128);
	assert_int_equal(get_be32(out->data), 'a');
	assert_int_equal(get_be32(out->data + 124), 0);
	back = xdr_decode(out->data, out->len, "M", NULL);
	assert_string_equal(g_variant_get_string(back, NULL), "a model's name that is far too ");
}

/* ---- wrong ---- */

struct wrong {
	const char *type;
	const char *hex;
};

static void test_wrong(void **state)
{
	static const struct wrong cases[] = {
		{ "s", "0000000261000000" },				 /* a NUL */
		{ "s", "00000001ff000000" },				 /* not UTF-8 */
		{ "s", "ffffffff" },					 /* longer than there is, and than can be rounded up */
		{ "s", "00400001" },					 /* longer than any */
		{ "o", "fffffffd00000000" },				 /* likewise */
		{ "?i", "0000000200000000" },				 /* neither there nor not */
		{ "ai", "4000000000000000" },				 /* more than there is */
		{ "a()", "00000010" },					 /* of nothing, without an end */
		{ "aas", "0000000100000009" },				 /* inside */
		{ "T", "00000001610000000000000000000000" },		 /* a parameter of type 0 */
		{ "T", "00000001610000000000000800000000" },		 /* and of type 8 */
		{ "(aTi)", "0000000100000001610000000000000700000001" }, /* a parameter's text that ends too early */
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		g_autoptr(GError) error = NULL;

		for (const char *p = cases[i].hex; *p; p += 2) {
			guint8 b = g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]);

			g_byte_array_append(bytes, &b, 1);
		}
		assert_null(xdr_decode(bytes->data, bytes->len, cases[i].type, &error));
		assert_true(g_error_matches(error, KV_ERROR, KV_ERROR_INVALID));
	}
}

static void test_limits(void **state)
{
	g_autofree guint8 *zeroes = g_malloc0(4 * (XDR_COUNT_MAX + 2));
	g_autofree char *text = g_strnfill(XDR_STRING_MAX + 1, 'a');
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GError) error = NULL;

	put_be32(zeroes, XDR_COUNT_MAX);
	g_variant_unref(xdr_decode(zeroes, 4 * (XDR_COUNT_MAX + 1), "ai", &error));
	put_be32(zeroes, XDR_COUNT_MAX + 1);
	assert_null(xdr_decode(zeroes, 4 * (XDR_COUNT_MAX + 2), "ai", &error));
	assert_fails(&error);
	assert_false(xdr_encode(out, "(is)", g_variant_new("(is)", 1, text), &error));
	assert_int_equal(out->len, 0);
	assert_fails(&error);
	text[XDR_STRING_MAX] = 0;
	assert_true(xdr_encode(out, "s", g_variant_new_string(text), &error));
}

static void test_encode_refuses(void **state)
{
	g_autoptr(GByteArray) out = g_byte_array_new();
	g_autoptr(GError) error = NULL;

	assert_false(xdr_encode(out, "u", g_variant_new_int32(1), &error)); /* another type */
	assert_fails(&error);
	assert_false(
		xdr_encode(out, "(iU)",
			   g_variant_new("(i@ay)", 1, g_variant_new_from_data(G_VARIANT_TYPE("ay"), "abc", 3, TRUE, NULL, NULL)),
			   &error)); /* a UUID of 3 bytes */
	assert_fails(&error);
	assert_false(xdr_encode(out, "T", g_variant_new("(sv)", "a", g_variant_new_byte(1)), &error));
	assert_fails(&error);
	assert_int_equal(out->len, 0);
}

/* ---- messages ---- */

static void test_message(void **state)
{
	static const guint8 want[] = { 0, 0, 0, 36, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0,	23,  0, 0,
				       0, 0, 0, 0,  0,	  5, 0,	   0,	 0, 0, 0, 0, 0, 2, 'v', 'm', 0, 0 };
	struct rpc_header h = { RPC_REMOTE, 1, 23, RPC_CALL, 5, RPC_OK }, back;
	g_autoptr(GByteArray) m = rpc_message_new(&h, "(s)", g_variant_new("(s)", "vm"), 0, NULL);
	g_autoptr(GVariant) body = NULL;
	g_autoptr(GError) error = NULL;
	unsigned fds = 7;

	assert_int_equal(m->len, sizeof(want));
	assert_memory_equal(m->data, want, sizeof(want));
	assert_int_equal(rpc_message_length(m->data, &error), m->len);
	assert_true(rpc_message_header(m->data, &back, &error));
	assert_memory_equal(&h, &back, sizeof(h));
	body = rpc_message_body(m->data, m->len, "(s)", &fds, &error);
	assert_int_equal(fds, 0);
	assert_string_equal(g_variant_get_string(g_variant_get_child_value(body, 0), NULL), "vm");
	assert_null(rpc_message_body(m->data, m->len, "(ss)", NULL, &error));
	assert_fails(&error);
}

static void test_message_fds(void **state)
{
	struct rpc_header h = { RPC_REMOTE, 1, 310, RPC_CALL_FDS, 5, RPC_OK };
	g_autoptr(GByteArray) m = rpc_message_new(&h, "(s)", g_variant_new("(s)", "vm"), 2, NULL);
	g_autoptr(GVariant) body = NULL;
	g_autoptr(GError) error = NULL;
	unsigned fds;

	body = rpc_message_body(m->data, m->len, "(s)", &fds, &error);
	assert_non_null(body);
	assert_int_equal(fds, 2);
	assert_null(rpc_message_body(m->data, m->len, "(s)", NULL, &error)); /* none are taken */
	assert_fails(&error);
	assert_null(rpc_message_body(m->data, RPC_LENGTH + RPC_HEADER + 3, "()", &fds, &error)); /* not even a count */
	assert_fails(&error);
	put_be32(m->data + RPC_LENGTH + RPC_HEADER, RPC_FDS_MAX + 1);
	assert_null(rpc_message_body(m->data, m->len, "(s)", &fds, &error));
	assert_fails(&error);
}

static void test_message_wrong(void **state)
{
	static const guint32 lengths[] = { 0, 27, RPC_MESSAGE_MAX + 1, G_MAXUINT32 };
	struct rpc_header h = { RPC_REMOTE, 1, 23, RPC_STREAM_HOLE + 1 };
	g_autoptr(GError) error = NULL;
	guint8 bytes[4];

	for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
		put_be32(bytes, lengths[i]);
		assert_int_equal(rpc_message_length(bytes, &error), 0);
		assert_fails(&error);
	}
	for (int k = 0; k < 4; k++) {
		g_autoptr(GByteArray) m = NULL;

		h.type = (const int[]){ -1, 7, 0, 0 }[k];
		h.status = (const int[]){ 0, 0, -1, 3 }[k];
		m = rpc_message_new(&h, NULL, NULL, 0, NULL);
		assert_false(rpc_message_header(m->data, &h, &error));
		assert_fails(&error);
		assert_null(rpc_message_body(m->data, m->len, "()", NULL, &error));
		assert_fails(&error);
	}
}

static void test_message_too_long(void **state)
{
	struct rpc_header h = { RPC_REMOTE, 1, 23, RPC_CALL };
	g_autofree guint8 *data = g_malloc0(RPC_MESSAGE_MAX);
	g_autoptr(GError) error = NULL;

	assert_null(rpc_message_new(
		&h, "(o)", g_variant_new("(@ay)", g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, RPC_MESSAGE_MAX, 1)), 0,
		&error));
	assert_fails(&error);
}

static void test_stream(void **state)
{
	struct rpc_header h = { RPC_REMOTE, 1, 209, RPC_STREAM, 9, RPC_CONTINUE };
	g_autoptr(GByteArray) m = rpc_message_stream(&h, "abc", 3), end = rpc_message_stream(&h, NULL, 0);
	size_t len;

	assert_int_equal(get_be32(m->data), 31); /* data is not padded */
	assert_memory_equal(rpc_message_data(m->data, m->len, &len), "abc", 3);
	assert_int_equal(len, 3);
	rpc_message_data(end->data, end->len, &len);
	assert_int_equal(len, 0);
}

/* ---- errors ---- */

static void test_errors(void **state)
{
	g_autoptr(GError) error = NULL, back = NULL;
	g_autoptr(GVariant) body = NULL;
	g_autofree char *alone = rpc_error_text(VIR_ERR_NO_DOMAIN, NULL), *other = rpc_error_text(9999, "x");

	assert_string_equal(alone, "Domain not found");
	assert_string_equal(other, "x");
	assert_false(rpc_fail(&error, VIR_ERR_NO_DOMAIN, "no domain with matching name '%s'", "vm"));
	assert_string_equal(error->message, "Domain not found: no domain with matching name 'vm'");
	body = g_variant_ref_sink(rpc_error_body(error));
	back = rpc_error_from_body(body);
	assert_true(g_error_matches(back, RPC_ERRORS, VIR_ERR_NO_DOMAIN));
	assert_string_equal(back->message, error->message);
}

static void test_foreign_errors(void **state)
{
	static const struct {
		int code, want;
		const char *text;
	} cases[] = {
		{ KV_ERROR_USAGE, VIR_ERR_INVALID_ARG, "invalid argument: why" },
		{ KV_ERROR_SYSTEM, VIR_ERR_SYSTEM_ERROR, "why" },
		{ KV_ERROR_UNSUPPORTED, VIR_ERR_CONFIG_UNSUPPORTED, "unsupported configuration: why" },
		{ KV_ERROR_BUSY, VIR_ERR_RESOURCE_BUSY, "resource busy: why" },
		{ KV_ERROR_GUEST, VIR_ERR_INTERNAL_ERROR, "internal error: why" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = g_error_new(KV_ERROR, cases[i].code, "why"), back = NULL;
		g_autoptr(GVariant) body = g_variant_ref_sink(rpc_error_body(error));

		back = rpc_error_from_body(body);
		assert_int_equal(back->code, cases[i].want);
		assert_string_equal(back->message, cases[i].text);
	}
}

/* What GIO's and other domains say, also when it is no text. */
static void test_error_text(void **state)
{
	g_autoptr(GError) io = g_error_new(G_IO_ERROR, G_IO_ERROR_CLOSED, "gone"), odd = g_error_new(RPC_ERRORS, 1, "\xff"),
			  a = NULL, b = NULL;
	g_autoptr(GVariant) first = g_variant_ref_sink(rpc_error_body(io)), second = g_variant_ref_sink(rpc_error_body(odd)),
			    none = NULL;
	g_autoptr(GError) c = NULL;

	a = rpc_error_from_body(first);
	assert_int_equal(a->code, VIR_ERR_SYSTEM_ERROR);
	b = rpc_error_from_body(second);
	assert_true(g_utf8_validate(b->message, -1, NULL));
	/* A peer that says no text. */
	none = g_variant_ref_sink(g_variant_new("(iimsi@m(sayi)msmsmsii@m(say))", 5, 0, NULL, 0,
						g_variant_new_maybe(G_VARIANT_TYPE("(sayi)"), NULL), NULL, NULL, NULL, 0, 0,
						g_variant_new_maybe(G_VARIANT_TYPE("(say)"), NULL)));
	c = rpc_error_from_body(none);
	assert_int_equal(c->code, 5);
	assert_non_null(c->message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_encode_refuses),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_message_fds),
		cmocka_unit_test(test_message_wrong),
		cmocka_unit_test(test_message_too_long),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_foreign_errors),
		cmocka_unit_test(test_error_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
