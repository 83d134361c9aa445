/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * human-monitor-command, for the little that QEMU has in its human monitor alone: port forwards that come and go. Its answers
 * are texts, QEMU's, with an empty one for what went well. See qmp.h.
 */
#include <string.h>

#include "machine.h"
#include "net.h"
#include "qmp.h"
#include "vmm.h"

const struct qmp_member qmp_human_monitor_command_args[] = {
	{"command-line", &qmp_string},
	{"cpu-index", &qmp_integer, .optional = true},
	{},
};

/* The network of that name, or of the card, as set_link has it; or the first one that has forwards at all. */
static struct vmm_netdev *find_net(struct vmm *vmm, const char *id)
{
	struct vmm_netdev *n = id ? vmm_find_netdev(vmm, id) : NULL;

	if (id && !n)
		n = vmm_netdev_of_card(vmm, id);
	for (unsigned i = 0; !id && !n && i < vmm->netdevs->len; i++) {
		struct vmm_netdev *other = vmm->netdevs->pdata[i];

		if (other->net->backend->forward)
			n = other;
	}
	return n && n->net->backend->forward ? n : NULL;
}

static char *no_net(const char *id)
{
	return id ? g_strdup_printf("unrecognized netdev id '%s'\r\n", id) : g_strdup("user mode network stack not in use\r\n");
}

static char *forward_add(struct vmm *vmm, const char *id, const char *rule)
{
	struct vmm_netdev *n = find_net(vmm, id);
	g_autoptr(GError) why = NULL;

	if (!n)
		return no_net(id);
	return net_forward(n->net, rule, true, &why) ? g_strdup("") : g_strdup_printf("%s\r\n", why->message);
}

static char *forward_remove(struct vmm *vmm, const char *id, const char *rule)
{
	struct vmm_netdev *n = find_net(vmm, id);
	g_autoptr(GError) why = NULL;

	if (!n)
		return no_net(id);
	return g_strdup_printf("host forwarding rule for %s %s\r\n", rule,
			       net_forward(n->net, rule, false, &why) ? "removed" : "not found");
}

static const struct {
	const char *name;
	char *(*run)(struct vmm *vmm, const char *id, const char *rule);
} commands[] = {{"hostfwd_add", forward_add}, {"hostfwd_remove", forward_remove}};

static char *run(struct vmm *vmm, char **words, unsigned n)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (strcmp(commands[i].name, words[0]) != 0)
			continue;
		if (n != 2 && n != 3)
			return g_strdup_printf("%s: give [NETDEV] tcp|udp:[ADDR]:PORT%s\r\n", words[0], i ? "" : "-[GUEST]:PORT");
		return commands[i].run(vmm, n == 3 ? words[1] : NULL, words[n - 1]);
	}
	return g_strdup_printf("unknown command: '%s'\r\n", words[0]);
}

JsonNode *qmp_human_monitor_command(void *opaque, JsonObject *args, GError **error)
{
	g_auto(GStrv) all = g_strsplit_set(json_object_get_string_member(args, "command-line"), " \t", -1);
	g_autofree char *answer = NULL;
	gint64 cpu = json_object_get_int_member_with_default(args, "cpu-index", 0);
	struct vmm *vmm = opaque;
	unsigned n = 0;

	if (cpu < 0 || cpu >= machine_vcpus(vmm->machine) || !machine_vcpu_present(vmm->machine, (unsigned)cpu))
		return qmp_fail(error, QMP_ERROR_GENERIC, "Parameter 'cpu-index' expects a CPU number");
	for (char **word = all; *word; word++)
		if (**word)
			all[n++] = *word;
		else
			g_free(*word);
	all[n] = NULL;
	answer = n ? run(vmm, all, n) : g_strdup("");
	return json_node_init_string(json_node_alloc(), answer);
}
