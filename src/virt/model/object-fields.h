/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables of the smaller documents (objects.h). Source: libvirt 9.0's schemas. */
#pragma once
#include "fields.h"

extern const struct field network_fields[], pool_fields[], volume_fields[], secret_fields[], snapshot_fields[],
	checkpoint_fields[], host_interface_fields[], node_device_fields[];
