/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's own schemas, where its package has put them: for who asks for validation (virsh define --validate). Slow; pure. */
#pragma once
#include "model-xml.h"

/* kind: domain, network, storagepool, storagevol, secret, domainsnapshot. true as well when there is no schema. */
bool model_schema_validate(xmlDoc *doc, const char *kind, GError **error);
