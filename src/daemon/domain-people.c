/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people do with a running machine: look at its screen, type, use its console; its monitor and its agent. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "domain.h"
#include "stream.h"

enum { CONSOLE_FORCE = 1, CONSOLE_SAFE = 2, MAX_KEYS = 16 };

static bool open_console_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *name = NULL;
	guint32 flags;
	int fd;

	g_variant_get_child(args, 1, "ms", &name);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, CONSOLE_FORCE | CONSOLE_SAFE, error))
		return false;
	if (call->proc->number == RPC_DOMAIN_OPEN_CHANNEL) {
		if (!d->hv->driver->open_channel)
			return handler_unsupported(call, NULL, NULL, error);
		fd = d->hv->driver->open_channel(d, name, flags, error);
	} else {
		if (!d->hv->driver->open_console)
			return handler_unsupported(call, NULL, NULL, error);
		fd = d->hv->driver->open_console(d, name, flags, error);
	}
	if (fd < 0 || !stream_open(call, fd, STREAM_BOTH, error))
		return false;
	if (flags & CONSOLE_FORCE)
		stream_take_over(call->stream);
	return true;
}

static bool open_console(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, open_console_func);
}

static bool open_graphics_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	enum { GRAPHICS_SKIP_AUTH = 1 };
	guint32 index, flags;
	int fd;

	g_variant_get_child(args, 1, "u", &index);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, GRAPHICS_SKIP_AUTH, error))
		return false;
	fd = d->hv->driver->open_graphics(d, index, flags & GRAPHICS_SKIP_AUTH, error);
	if (fd < 0)
		return false;
	call->reply_fds = g_array_new(FALSE, FALSE, sizeof(int));
	g_array_append_val(call->reply_fds, fd);
	return true;
}

static bool open_graphics_fd(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->open_graphics)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, open_graphics_func);
}

static bool screenshot_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *mime = NULL;
	guint32 screen, flags;
	int fd;

	g_variant_get_child(args, 1, "u", &screen);
	g_variant_get_child(args, 2, "u", &flags);
	if (!call_check_flags(call, flags, 0, error))
		return false;
	fd = d->hv->driver->screenshot(d, screen, &mime, error);
	if (fd < 0 || !stream_open_file(call, fd, 0, 0, STREAM_TO_CLIENT, false, NULL, NULL, error))
		return false;
	*ret = g_variant_new("(ms)", mime);
	return true;
}

static bool screenshot(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->screenshot)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_QUERY, true, screenshot_func);
}

static bool send_key_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(GVariant) keys = g_variant_get_child_value(args, 3);
	guint32 codeset, hold, flags;
	const guint32 *list;
	gsize n;

	g_variant_get_child(args, 1, "u", &codeset);
	g_variant_get_child(args, 2, "u", &hold);
	g_variant_get_child(args, 4, "u", &flags);
	list = g_variant_get_fixed_array(keys, &n, sizeof(*list));
	if (!call_check_flags(call, flags, 0, error))
		return false;
	if (!n || n > MAX_KEYS)
		return rpc_fail(error, VIR_ERR_INVALID_ARG, "nkeycodes in virDomainSendKey must be less than or equal to %d",
				MAX_KEYS);
	return d->hv->driver->send_key(d, codeset, hold, list, n, error);
}

static bool send_key(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->send_key)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, send_key_func);
}

static bool inject_nmi_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	guint32 flags;

	g_variant_get_child(args, 1, "u", &flags);
	return call_check_flags(call, flags, 0, error) && d->hv->driver->inject_nmi(d, error);
}

static bool inject_nmi(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->inject_nmi)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, inject_nmi_func);
}

/* ---- the program RPC_QEMU ---- */

static bool monitor_func(struct call *call, struct domain *d, GVariant *args, GVariant **ret, GError **error)
{
	g_autofree char *command = NULL, *answer = NULL;
	guint32 flags;

	g_variant_get_child(args, 1, "s", &command);
	g_variant_get_child(args, 2, "u", &flags);
	answer = d->hv->driver->monitor(d, command, flags, error);
	if (!answer)
		return false;
	*ret = g_variant_new("(s)", answer);
	return true;
}

static bool monitor(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	if (!call->hv->driver->monitor)
		return handler_unsupported(call, args, ret, error);
	return domain_with_job(call, args, ret, error, JOB_MODIFY, true, monitor_func);
}

/* Without the domain's job: a guest may take its time, and is destroyed meanwhile. */
static bool agent(struct call *call, GVariant *args, GVariant **ret, GError **error)
{
	g_autoptr(Domain) d = domain_of_args(call, args, error);
	g_autofree char *command = NULL, *answer = NULL;
	gint32 timeout;
	guint32 flags;

	if (!call->hv->driver->agent)
		return handler_unsupported(call, args, ret, error);
	g_variant_get_child(args, 1, "s", &command);
	g_variant_get_child(args, 2, "i", &timeout);
	g_variant_get_child(args, 3, "u", &flags);
	if (!d || !call_check_flags(call, flags, 0, error) || !domain_require_active(d, error))
		return false;
	answer = d->hv->driver->agent(d, command, timeout, error);
	if (answer)
		*ret = g_variant_new("(ms)", answer);
	return answer;
}

const struct handler domain_people_handlers[] = {
	{ RPC_DOMAIN_OPEN_CONSOLE, open_console, 0 },
	{ RPC_DOMAIN_OPEN_CHANNEL, open_console, 0 },
	{ RPC_DOMAIN_OPEN_GRAPHICS_FD, open_graphics_fd, 0 },
	{ RPC_DOMAIN_SCREENSHOT, screenshot, 0 },
	{ RPC_DOMAIN_SEND_KEY, send_key, 0 },
	{ RPC_DOMAIN_INJECT_NMI, inject_nmi, 0 },
	{ 0 },
};
const struct handler qemu_handlers[] = {
	{ RPC_QEMU_DOMAIN_MONITOR_COMMAND, monitor, 0 },
	{ RPC_QEMU_DOMAIN_AGENT_COMMAND, agent, 0 },
	{ 0 },
};
