/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What polkit is told of an object of ours (libvirt's docs/aclpolkit, "Object identity attributes"). Called by access.c. */
#pragma once
#include "call.h"

/* "QEMU" for domains, "storage" for pools: the detail connect_driver. */
const char *subject_driver(const struct hv *hv, const char *object);
/*
 * Adds details, of type a{ss}, of the object that ref is: a handle as it is on the wire, a name, or a domain's ID. pool: for
 * volumes by name, their pool's handle. false and *error: there is no such object.
 */
bool subject_describe(struct call *call, const char *object, GVariant *ref, GVariant *pool, GVariantBuilder *details,
		      GError **error);
/* The same of a handle that is ours, of an object that may be gone. */
void subject_describe_handle(const char *object, GVariant *handle, GVariantBuilder *details);
/* The same of what an XML text defines, that is not there yet. */
void subject_describe_xml(const char *object, const char *xml, GVariantBuilder *details);
