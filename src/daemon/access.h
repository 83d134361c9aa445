/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what: libvirt's access driver "polkit" (libvirt's docs/aclpolkit). Before a procedure the actions of its row in
 * schema/rpc.procs are asked about, org.libvirt.api.OBJECT.PERMISSION, with the object's name and UUID as they are here, not as
 * the client writes them; lists and events have what may be seen alone. Without that driver nobody is asked. With the state lock,
 * which is let go of while polkit thinks; not in the main thread but for access_asks() and access_event().
 */
#pragma once
#include "call.h"
#include "client.h"

/* Is anybody to be asked about this procedure of this client? Then its calls wait. */
bool access_asks(const struct client *c, const struct rpc_proc *proc);
/* A call of a procedure that looks: do its flags ask for no more, of the guest for one? */
bool access_looks(const struct rpc_proc *proc, GVariant *args);
/* Before the handler. *args may become others, that ask for all of a list (a reference is changed for another). */
bool access_before(struct call *call, GVariant **args, GError **error);
/* Behind it, with what the client had asked for: *ret may become another one, and then is a reference. */
bool access_behind(struct call *call, GVariant *args, GVariant **ret, GError **error);
/* An event of an object ("domain"), with its handle, to be sent when polkit agrees; takes message. */
void access_event(struct client *c, struct hv *hv, const char *object, GVariant *handle, GByteArray *message);
void access_drop_events(struct client *c);
