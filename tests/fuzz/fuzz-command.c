/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a definition of a domain, whole and as it comes, and the command line that is made of it. Whatever it is, there is
 * a line or an error, not both. A definition of a network, and the keys of a card at it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "domain-def.h"
#include "model-xml.h"
#include "objects.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct command_paths paths = { "kv-vmm", "/run/x", "/lib/x", 1790000000 };

static void check(const xmlNode *domain)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) argv = command_new(domain, &paths, &error);

	if (!argv == !error)
		abort();
	if (argv && (strcmp(argv[0], "kv-vmm") || !argv[1]))
		abort();
}

/* A network's keys come in pairs, for any card. */
static void check_network(const xmlDoc *doc)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL, why = NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	bool ok = command_network_words(root, "52:54:00:00:00:01", NULL, NULL, words, &error);

	if (ok == (error != NULL) || (ok && (words->len % 2 || !words->len)) || (ok && !command_network_check(root, &why)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(xmlDoc) network = object_parse(OBJECT_NETWORK, (const char *)data, (gssize)size, 0, NULL);
	g_autoptr(xmlDoc) doc = model_xml_parse((const char *)data, (gssize)size, "domain", NULL);
	g_autoptr(DomainDef) def = doc ? domain_def_parse((const char *)data, (gssize)size, 0, NULL) : NULL;

	if (network)
		check_network(network);
	if (doc)
		check(xmlDocGetRootElement(doc));
	if (def) {
		domain_def_set_live(def, 1);
		check(domain_def_root(def));
	}
	return 0;
}
