/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvncserver does not have of QEMU's (rfbproto.rst, the community's RFB specification: 7.8.14 pointer motion change,
 * 7.8.16 extended key event, 7.8.42 LED state; message 7.5.7): keys by their place instead of their sign, LEDs, and whether
 * the pointer is absolute. By its extension interface; the rectangles are sent between its updates. Called by vnc-viewer.c.
 */
#include "bytes.h"
#include "vnc-server.h"

enum { POINTER_CHANGE = -257, EXTENDED_KEYS = -258, LED_STATE = -261, QEMU_MESSAGE = 255, QEMU_KEYS = 0 };
enum { LED_SCROLL = 1, LED_NUM = 2, LED_CAPS = 4 };

/* 0: the list begins anew. */
static rfbBool enable(rfbClientPtr cl, void **data, int encoding)
{
	struct vnc_viewer *v = cl->screen->screenData;

	switch (encoding) {
	case POINTER_CHANGE:
		__atomic_store_n(&v->features.pointer, true, __ATOMIC_RELAXED);
		v->features.pointer_told = -1;
		return TRUE;
	case EXTENDED_KEYS:
		v->features.keys = true;
		v->features.keys_told = false;
		return TRUE;
	case LED_STATE:
		v->features.leds = true;
		v->features.leds_told = -1;
		return TRUE;
	default:
		return FALSE;
	}
}

static rfbBool message(rfbClientPtr cl, void *data, const rfbClientToServerMsg *msg)
{
	struct vnc_message m = {.viewer = cl->screen->screenData, .kind = VNC_MESSAGE_KEY};
	uint8_t rest[11];

	if (msg->type != QEMU_MESSAGE)
		return FALSE;
	/* Others of QEMU's (sound) have lengths of their own, and were not offered. */
	if (rfbReadExact(cl, (char *)rest, 1) <= 0 || rest[0] != QEMU_KEYS || rfbReadExact(cl, (char *)rest + 1, 10) <= 0) {
		rfbCloseClient(cl);
		return TRUE;
	}
	m.down = get_be16(rest + 1);
	m.code = vnc_key_of_xt(get_be32(rest + 7));
	if (!m.code) {
		m.kind = VNC_MESSAGE_SYM;
		m.code = get_be32(rest + 3);
	}
	vnc_post(&m);
	return TRUE;
}

static bool send_rect(struct vnc_viewer *v, int encoding, uint16_t x, uint16_t width, uint16_t height, const uint8_t *byte)
{
	uint8_t b[4 + 12 + 1] = {0};

	b[3] = 1;
	put_be16(b + 4, x);
	put_be16(b + 8, width);
	put_be16(b + 10, height);
	put_be32(b + 12, (uint32_t)encoding);
	if (byte)
		b[16] = *byte;
	return rfbWriteExact(v->client, (const char *)b, 16 + (byte ? 1 : 0)) > 0;
}

bool vnc_extension_send(struct vnc_viewer *v, unsigned leds, bool absolute)
{
	struct vnc_features *f = &v->features;
	uint16_t w = (uint16_t)v->client->screen->width, h = (uint16_t)v->client->screen->height;
	uint8_t shown = (uint8_t)((leds & INPUT_LED_SCROLL ? LED_SCROLL : 0) | (leds & INPUT_LED_NUM ? LED_NUM : 0) |
				  (leds & INPUT_LED_CAPS ? LED_CAPS : 0));

	if (f->keys && !f->keys_told) {
		f->keys_told = true;
		if (!send_rect(v, EXTENDED_KEYS, 0, w, h, NULL))
			return false;
	}
	if (f->pointer && f->pointer_told != absolute) {
		f->pointer_told = absolute;
		if (!send_rect(v, POINTER_CHANGE, absolute, w, h, NULL))
			return false;
	}
	if (f->leds && f->leds_told != (int)leds) {
		f->leds_told = (int)leds;
		if (!send_rect(v, LED_STATE, 0, 0, 0, &shown))
			return false;
	}
	return true;
}

void vnc_extension_register(void)
{
	static int encodings[] = {POINTER_CHANGE, EXTENDED_KEYS, LED_STATE, 0};
	static rfbProtocolExtension extension = {
		.pseudoEncodings = encodings, .enablePseudoEncoding = enable, .handleMessage = message};

	rfbUnregisterProtocolExtension(&extension);
	rfbRegisterProtocolExtension(&extension);
}
