/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of domains: names, numbers by their place, and texts. */
#pragma once
#include <glib.h>

struct domain_event {
	const char *name, *procedure;
	void (*write)(GString *out, const char *domain, GVariant *message); /* NULL: there is nothing but its name */
};
extern const struct domain_event domain_events[]; /* ends with {} */

/* Lines, with the last newline. */
char *domain_event_text(const struct domain_event *e, GVariant *body);
