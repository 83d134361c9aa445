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

static bool find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, GError **error)
{
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (!pw && errno)
		return kv_fail_errno(error, errno, "--sandbox: user '%s'", name);
	if (!pw)
		return kv_fail(error, KV_ERROR_USAGE, "--sandbox: there is no user '%s'", name);
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return true;
}

bool sandbox_change_user(struct sandbox *s, GError **error)
{
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;

	if (geteuid() != 0)
		return !s->user || kv_fail(error, KV_ERROR_USAGE, "--sandbox user=%s: only root can become somebody else", s->user);
	/* A client's files are root's as well. */
	if (!s->user && s->names)
		return true;
	if (s->user && !find_user(s->user, &uid, &gid, error))
		return false;
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) {
		if (s->user)
			return kv_fail_errno(error, errno, "--sandbox: cannot become user '%s'", s->user);
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
	/* Who may not, has none that could come back: no_new_privs. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (syscall(SYS_capset, &header, none))
		sandbox_left_out(s, "capabilities", errno);
}
