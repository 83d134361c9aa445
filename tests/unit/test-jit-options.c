/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVCORE_JIT: keys, ranges, and that an error names what is wrong (src/core/soft/jit/options.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "options.h"

/* What it says on standard error, while it does. */
static bool read_options(const char *text, struct jit_options *o, char *said, size_t size)
{
	int saved = dup(STDERR_FILENO), pipes[2];
	ssize_t n;
	bool ok;

	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	setenv("KVCORE_JIT", text, 1);
	ok = jit_options_read(o);
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	n = read(pipes[0], said, size - 1);
	close(pipes[0]);
	said[n > 0 ? n : 0] = 0;
	return ok;
}

static void test_values(void **state)
{
	struct jit_options usual, o;
	char said[256];

	(void)state;
	assert_true(read_options("", &usual, said, sizeof(said)));
	assert_true(usual.jumps && usual.links && !usual.tlb && !usual.events && !usual.lockstep);
	assert_true(read_options("block=3,code=256K,tlb=4,events=20,seed=7", &o, said, sizeof(said)));
	assert_string_equal(said, "");
	assert_true(o.block == 3 && o.code == 256 << 10 && o.tlb == 4 && o.events == 20 && o.seed == 7);
	assert_true(o.jumps && o.links);
	assert_true(read_options("jumps=0", &o, said, sizeof(said)));
	assert_true(!o.jumps && o.links && o.block == usual.block && o.code == usual.code);
	assert_true(read_options("lockstep", &o, said, sizeof(said)));
	assert_true(o.lockstep == 1 && !o.jumps && !o.links);
	assert_true(usual.paths >= 100); /* a path costs more than a few turns of a loop */
	assert_true(read_options("paths=1", &o, said, sizeof(said)) && o.paths == 1 && o.jumps && o.links);
	assert_true(read_options("paths=0,block=5", &o, said, sizeof(said)) && !o.paths && o.block == 5);
	assert_true(read_options("paths", &o, said, sizeof(said)) && o.paths == 1);
	assert_true(read_options("paths=4294967295", &o, said, sizeof(said)) && o.paths == 4294967295u);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *named;
	} bad[] = { { "block=3,speed=1", "'speed': unknown key, there are block" },
		    { "blocks=3", "'blocks': unknown key" },
		    { "block=0", "'block=0': not a number from 1 to" },
		    { "block=x", "'block=x': not a number" },
		    { "block=", "'block=': not a number" },
		    { "code=1K", "'code=1K': not a number from 65536 to" },
		    { "events=4294967296", "'events=4294967296': not a number" },
		    { "events=99999999999999999999", "not a number" },
		    { "paths=-1", "'paths=-1': not a number from 0 to 4294967295" },
		    { "paths=4294967296", "'paths=4294967296': not a number" },
		    { "path=1", "'path': unknown key" },
		    { "speed=1", " paths" },
		    { "tlb=3", "'tlb': not a power of two" },
		    { "block=3,,tlb=1", "'': unknown key" } };
	struct jit_options o;
	char said[256];

	(void)state;
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		assert_false(read_options(bad[n].text, &o, said, sizeof(said)));
		assert_non_null(strstr(said, "KVCORE_JIT: "));
		assert_non_null(strstr(said, bad[n].named));
		assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_values), cmocka_unit_test(test_errors) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
