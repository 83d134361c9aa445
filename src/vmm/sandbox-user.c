/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who kv-vmm is: nobody in the place of root, and no capabilities whoever it is. credentials(7), capabilities(7). See sandbox.h.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "sandbox.h"

enum { NOBODY = 65534 }; /* of Debian and others, also as a group; that of --sandbox user=nobody needs no look-up */

bool sandbox_find_user(struct sandbox *s, GError **error)
{
	struct passwd *pw;

	s->uid = geteuid();
	s->gid = getegid();
	if (s->uid != 0)
		return !s->user ||
		       kv_fail(error, KV_ERROR_USAGE, "--sandbox user=%s: only root can become somebody else", s->user);
	if (!s->user) {
		/* A client's files are root's as well. */
		if (!s->names)
			s->uid = s->gid = NOBODY;
		return true;
	}
	pw = getpwnam(s->user);
	if (!pw)
		return kv_fail(error, KV_ERROR_USAGE, "--sandbox user=%s: there is no such user", s->user);
	s->uid = pw->pw_uid;
	s->gid = pw->pw_gid;
	return true;
}

bool sandbox_change_user(struct sandbox *s, GError **error)
{
	if (s->uid == geteuid())
		return true;
	if (setgroups(0, NULL) || setresgid(s->gid, s->gid, s->gid) || setresuid(s->uid, s->uid, s->uid)) {
		if (s->user)
			return kv_fail_errno(error, errno, "--sandbox user=%s: cannot become that user", s->user);
		sandbox_left_out(s, "user nobody", errno);
		return true;
	}
	sandbox_unshare_users(s);
	return true;
}

void sandbox_drop_capabilities(struct sandbox *s)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Up to the first that the kernel does not know. Who may not, has none that could come back: no_new_privs. */
	for (int cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	if (syscall(SYS_capset, &header, none))
		sandbox_left_out(s, "capabilities", errno);
}
