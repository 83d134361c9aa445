/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds and loads modules. Places are relative to the program, so that an installed tree can be moved; dlopen()'s own search
 * would need a run path, which sanitizers lose. See module.h.
 */
#include "module.h"

#include <dlfcn.h>

#include "error.h"

/* Behind the program's folder: where it is installed, and where the build makes it, for programs and for tests. */
static const char *const places[] = { "../" KV_LIBDIR "/kvasir", "../base", "../nbd", "../net", "../display", "../virt", ".",
				      "../../src/base", "../../src/nbd", "../../src/net", "../../src/display",
				      "../../src/virt" };

static void *load(const char *folder, const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *file = g_strconcat(name, ".so", NULL);
		g_autofree char *path = g_build_filename(folder, places[i], file, NULL);
		void *module = g_file_test(path, G_FILE_TEST_EXISTS) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;

		if (module)
			return module;
	}
	return NULL;
}

void *kv_module_symbol(const char *name, const char *symbol, GError **error)
{
	g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = g_path_get_dirname(program ? program : "");
	void *module, *found;

	dlerror();
	module = load(folder, name);
	found = module ? dlsym(module, symbol) : NULL;
	if (!found) {
		const char *why = dlerror();

		kv_fail(error, KV_ERROR_SYSTEM, "cannot load %s.so: %s; it belongs into %s/%s", name, why ? why : "there is none",
			folder, places[0]);
	}
	return found;
}
