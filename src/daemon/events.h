/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens is told to clients that have registered: each registration is of one client, one kind of event, all objects or
 * one. The old way (connect_domain_event_register_any) has a number of messages of its own. With the state lock held.
 */
#pragma once
#include "client.h"

enum event_kind { EVENT_DOMAIN, EVENT_NETWORK, EVENT_POOL, EVENT_NODE_DEVICE, EVENT_SECRET, EVENT_MONITOR };
enum domain_event_id {
	DOMAIN_EVENT_LIFECYCLE,
	DOMAIN_EVENT_REBOOT,
	DOMAIN_EVENT_RTC_CHANGE,
	DOMAIN_EVENT_WATCHDOG,
	DOMAIN_EVENT_IO_ERROR,
	DOMAIN_EVENT_GRAPHICS,
	DOMAIN_EVENT_IO_ERROR_REASON,
	DOMAIN_EVENT_CONTROL_ERROR,
	DOMAIN_EVENT_BLOCK_JOB,
	DOMAIN_EVENT_DISK_CHANGE,
	DOMAIN_EVENT_TRAY_CHANGE,
	DOMAIN_EVENT_PMWAKEUP,
	DOMAIN_EVENT_PMSUSPEND,
	DOMAIN_EVENT_BALLOON_CHANGE,
	DOMAIN_EVENT_PMSUSPEND_DISK,
	DOMAIN_EVENT_DEVICE_REMOVED,
	DOMAIN_EVENT_BLOCK_JOB_2,
	DOMAIN_EVENT_TUNABLE,
	DOMAIN_EVENT_AGENT_LIFECYCLE,
	DOMAIN_EVENT_DEVICE_ADDED,
	DOMAIN_EVENT_MIGRATION_ITERATION,
	DOMAIN_EVENT_JOB_COMPLETED,
	DOMAIN_EVENT_DEVICE_REMOVAL_FAILED,
	DOMAIN_EVENT_METADATA_CHANGE,
	DOMAIN_EVENT_BLOCK_THRESHOLD,
	DOMAIN_EVENT_MEMORY_FAILURE,
	DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE,
	DOMAIN_EVENTS,
};

struct domain;

/* rest: a tuple of what follows the domain in the message (floating), or NULL. */
void events_domain(struct domain *d, enum domain_event_id id, GVariant *rest);
/* Of a network, pool, node device or secret: handle is its handle on the wire, key what registrations may be limited to. */
void events_object(struct hv *hv, enum event_kind kind, unsigned id, const char *key, GVariant *handle, GVariant *rest);
/* What a VMM says in its own words, to those who registered with the qemu program. details: JSON, or NULL. */
void events_monitor(struct domain *d, const char *event, gint64 seconds, unsigned micros, const char *details);
void events_leave(struct client *c); /* none any more */
