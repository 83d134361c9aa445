/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where libvirt's test driver answers in other words than its others, or has less than they have. */
#include "domain.h"
#include "test.h"

/* The state that a call needs, or libvirt's sentence. */
static bool in_state(struct call *call, GVariant *args, bool paused, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);

	if (!d)
		return false;
	if (paused && d->state != DOMAIN_PAUSED)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "domain '%s' not paused", d->name);
	if (!paused && d->state != DOMAIN_RUNNING)
		return rpc_fail(error, VIR_ERR_INTERNAL_ERROR, "domain '%s' not running", d->name);
	return true;
}

static bool suspend(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return in_state(call, args, false, error) && domain_suspend(call, args, ret, error);
}

static bool resume(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return in_state(call, args, true, error) && domain_resume(call, args, ret, error);
}

static bool shut_down(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return in_state(call, args, false, error) && domain_shutdown(call, args, ret, error);
}

static bool os_type(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	*ret = g_variant_new("(s)", "linux");
	return true;
}

enum { LOOK = HANDLER_FAST | HANDLER_READ_ONLY };

const struct handler test_word_handlers[] = {
	{ RPC_DOMAIN_SUSPEND, suspend, 0 },
	{ RPC_DOMAIN_RESUME, resume, 0 },
	{ RPC_DOMAIN_SHUTDOWN, shut_down, 0 },
	{ RPC_DOMAIN_SHUTDOWN_FLAGS, shut_down, 0 },
	{ RPC_DOMAIN_GET_OS_TYPE, os_type, LOOK },
	{ RPC_DOMAIN_GET_JOB_INFO, handler_unsupported, LOOK },
	{ RPC_DOMAIN_GET_JOB_STATS, handler_unsupported, LOOK },
	{ RPC_DOMAIN_ATTACH_DEVICE, handler_unsupported, 0 },
	{ RPC_DOMAIN_ATTACH_DEVICE_FLAGS, handler_unsupported, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE, handler_unsupported, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE_FLAGS, handler_unsupported, 0 },
	{ RPC_DOMAIN_DETACH_DEVICE_ALIAS, handler_unsupported, 0 },
	{ RPC_DOMAIN_UPDATE_DEVICE_FLAGS, handler_unsupported, 0 },
	{ 0 },
};
