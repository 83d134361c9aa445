/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Validation against libvirt's RELAX NG schemas (model-schema.h). Each time a schema is read and forgotten: it is large. */
#include <libxml/relaxng.h>
#include <stdarg.h>
#include <stdio.h>

#include "message.h"
#include "model-schema.h"

#define SCHEMAS "/usr/share/libvirt/schemas"
enum { TEXT_MAX = 4096 };

static void note(void *context, const char *format, ...)
{
	GString *text = context;
	va_list args;

	va_start(args, format);
	if (text->len < TEXT_MAX)
		g_string_append_vprintf(text, format, args);
	va_end(args);
}

static void quiet(void *context, const char *format, ...)
{
}

bool model_schema_validate(xmlDoc *doc, const char *kind, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/%s.rng", SCHEMAS, kind);
	g_autoptr(GString) text = g_string_new(NULL);
	xmlRelaxNGParserCtxt *parser;
	xmlRelaxNGValidCtxt *validator;
	xmlRelaxNG *schema;
	bool ok;

	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return true;
	parser = xmlRelaxNGNewParserCtxt(path);
	xmlRelaxNGSetParserErrors(parser, quiet, quiet, NULL);
	schema = xmlRelaxNGParse(parser);
	xmlRelaxNGFreeParserCtxt(parser);
	if (!schema)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "Unable to parse RNG %s", path);
	validator = xmlRelaxNGNewValidCtxt(schema);
	xmlRelaxNGSetValidErrors(validator, note, quiet, text);
	ok = xmlRelaxNGValidateDoc(validator, doc) == 0;
	xmlRelaxNGFreeValidCtxt(validator);
	xmlRelaxNGFree(schema);
	if (ok)
		return true;
	g_strchomp(text->str);
	return rpc_fail(error, VIR_ERR_XML_INVALID_SCHEMA, "Unable to validate doc against %s\n%s", path, text->str);
}
