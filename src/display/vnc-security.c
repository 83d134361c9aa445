/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first words of RFB (RFC 6143, 7.1.1 to 7.1.3): versions, and the one security type that the server has. libvncserver has
 * the types in a list for all servers of a process, changed by each viewer that comes and without a lock: one at a server
 * without a password would open another that has one. So they are spoken here; the answer to the challenge is libvncserver's
 * again. Called by vnc-viewer.c, in the viewer's thread.
 */
#include <stdio.h>
#include <sys/random.h>

#include "bytes.h"
#include "vnc-server.h"

enum { VERSION = 12, MAJOR = 3, FIRST_WITH_LIST = 7, FIRST_WITH_RESULT = 8, OF_MAC_OS = 889 };

static bool get(rfbClientPtr cl, void *buf, int len)
{
	return rfbReadExact(cl, buf, len) > 0;
}

static bool put(rfbClientPtr cl, const void *buf, int len)
{
	return rfbWriteExact(cl, buf, len) > 0;
}

static uint8_t own_type(const struct vnc_viewer *v)
{
	return v->server->has_password ? rfbSecTypeVncAuth : rfbSecTypeNone;
}

/* What the type has to say, before ClientInit. */
static bool begin(struct vnc_viewer *v)
{
	static const uint8_t good[4];
	rfbClientPtr cl = v->client;
	int minor = cl->protocolMinorVersion;

	if (v->server->has_password) {
		cl->state = RFB_AUTHENTICATION;
		return getrandom(cl->authChallenge, CHALLENGESIZE, 0) == CHALLENGESIZE &&
		       put(cl, cl->authChallenge, CHALLENGESIZE);
	}
	/* macOS's viewer, which calls itself 3.889, waits for no result, and then sends no ClientInit. */
	cl->state = minor == OF_MAC_OS ? RFB_INITIALISATION_SHARED : RFB_INITIALISATION;
	if (minor == OF_MAC_OS)
		rfbProcessClientMessage(cl);
	return minor == OF_MAC_OS || minor < FIRST_WITH_RESULT || put(cl, good, sizeof(good));
}

static bool take_version(struct vnc_viewer *v)
{
	uint8_t type[4] = {0, 0, 0, own_type(v)};
	char version[VERSION + 1] = "";
	rfbClientPtr cl = v->client;

	if (!get(cl, version, VERSION) ||
	    sscanf(version, "RFB %3d.%3d\n", &cl->protocolMajorVersion, &cl->protocolMinorVersion) != 2 ||
	    cl->protocolMajorVersion != MAJOR)
		return false;
	if (cl->protocolMinorVersion < FIRST_WITH_LIST)
		return put(cl, type, sizeof(type)) && begin(v);
	cl->state = RFB_SECURITY_TYPE;
	return put(cl, (const uint8_t[]){1, type[3]}, 2);
}

static bool take_type(struct vnc_viewer *v)
{
	uint8_t type;

	return get(v->client, &type, 1) && type == own_type(v) && begin(v);
}

bool vnc_security_message(struct vnc_viewer *v)
{
	rfbClientPtr cl = v->client;
	bool is_version = cl->state == RFB_PROTOCOL_VERSION;

	if (!is_version && cl->state != RFB_SECURITY_TYPE)
		return false;
	if (!(is_version ? take_version(v) : take_type(v)) && cl->sock != RFB_INVALID_SOCKET)
		rfbCloseClient(cl);
	return true;
}
