/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables of a domain's XML (fields.h), one file a kind of device. Words with "!" and rows with FIELD_NO are what libvirt's
 * schema knows and kv-vmm does not do. Source: https://libvirt.org/formatdomain.html, libvirt 9.0's schemas.
 */
#pragma once
#include "fields.h"

extern const struct field domain_fields[], platform_fields[], cpu_fields[], clock_fields[];
extern const struct field disk_fields[], controller_fields[], interface_fields[], serial_fields[], console_fields[],
	channel_fields[], input_fields[], graphics_fields[], audio_fields[], video_fields[], watchdog_fields[],
	memballoon_fields[], rng_fields[], panic_fields[], vsock_fields[];

/* Shared by devices. */
extern const struct field field_alias[], field_address[], field_boot[], field_rom[], field_char_source[],
	field_virtio[];
