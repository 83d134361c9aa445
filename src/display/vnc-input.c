/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and pointers of VNC viewers to the guest. Viewers with QEMU's extension say which key it was; of others there is the
 * keysym alone, for which a key of an English (US) keyboard is found (libxkbcommon), with Shift as the sign needs it. Main
 * thread.
 */
#include <linux/input-event-codes.h>
#include <string.h>
#include <xkbcommon/xkbcommon.h>

#include "vnc-server.h"

enum { XKB_OFFSET = 8, EXTENDED = 0x80, RELATIVE_CENTER = 0x7fff };

/* Keysym -> code | SHIFTED. */
enum { SHIFTED = 0x10000, KNOWN = 0x20000 };
struct vnc_keymap {
	GHashTable *codes;
};

/* ---- keys ---- */

/* Scan codes of set 1 that follow 0xe0 (Linux: drivers/tty/vt, keyboard.c's table x86_keycodes, by meaning). */
static const uint8_t extended[128] = {
	[0x10] = KEY_PREVIOUSSONG, [0x19] = KEY_NEXTSONG,  [0x1c] = KEY_KPENTER, [0x1d] = KEY_RIGHTCTRL, [0x20] = KEY_MUTE,
	[0x21] = KEY_CALC,	   [0x22] = KEY_PLAYPAUSE, [0x24] = KEY_STOPCD,	 [0x2e] = KEY_VOLUMEDOWN, [0x30] = KEY_VOLUMEUP,
	[0x32] = KEY_HOMEPAGE,	   [0x35] = KEY_KPSLASH,   [0x37] = KEY_SYSRQ,	 [0x38] = KEY_RIGHTALT,	 [0x46] = KEY_PAUSE,
	[0x47] = KEY_HOME,	   [0x48] = KEY_UP,	   [0x49] = KEY_PAGEUP,	 [0x4b] = KEY_LEFT,	 [0x4d] = KEY_RIGHT,
	[0x4f] = KEY_END,	   [0x50] = KEY_DOWN,	   [0x51] = KEY_PAGEDOWN, [0x52] = KEY_INSERT,	 [0x53] = KEY_DELETE,
	[0x5b] = KEY_LEFTMETA,	   [0x5c] = KEY_RIGHTMETA, [0x5d] = KEY_COMPOSE, [0x5e] = KEY_POWER,	 [0x5f] = KEY_SLEEP,
	[0x63] = KEY_WAKEUP,	   [0x65] = KEY_SEARCH,	   [0x66] = KEY_BOOKMARKS, [0x67] = KEY_REFRESH, [0x68] = KEY_STOP,
	[0x69] = KEY_FORWARD,	   [0x6a] = KEY_BACK,	   [0x6b] = KEY_COMPUTER, [0x6c] = KEY_MAIL,	 [0x6d] = KEY_MEDIA,
};

/* Those of set 1 that Linux has elsewhere than at the same number. */
static uint32_t plain_key(uint32_t code)
{
	switch (code) {
	case 0x54:
		return KEY_SYSRQ;
	case 0x70:
		return KEY_KATAKANAHIRAGANA;
	case 0x73:
		return KEY_RO;
	case 0x79:
		return KEY_HENKAN;
	case 0x7b:
		return KEY_MUHENKAN;
	case 0x7d:
		return KEY_YEN;
	default:
		return code <= KEY_F12 ? code : 0;
	}
}

uint32_t vnc_key_of_xt(uint32_t code)
{
	if (code == 0xc6)
		return KEY_PAUSE;
	return code > 0xff ? 0 : code & EXTENDED ? extended[code & 0x7f] : plain_key(code);
}

static void add_code(struct xkb_keymap *map, xkb_keycode_t key, void *opaque)
{
	GHashTable *codes = opaque;
	xkb_level_index_t levels = key > XKB_OFFSET ? xkb_keymap_num_levels_for_key(map, key, 0) : 0;

	for (xkb_level_index_t level = 0; level < MIN(levels, 2u); level++) {
		const xkb_keysym_t *syms;
		int n = xkb_keymap_key_get_syms_by_level(map, key, 0, level, &syms);
		uint32_t code = (key - XKB_OFFSET) | (level ? SHIFTED : 0) | KNOWN;

		for (int i = 0; i < n; i++) {
			uint32_t old = GPOINTER_TO_UINT(g_hash_table_lookup(codes, GUINT_TO_POINTER(syms[i])));

			if (!old || (old & SHIFTED && !level))
				g_hash_table_insert(codes, GUINT_TO_POINTER(syms[i]), GUINT_TO_POINTER(code));
		}
	}
}

/* Empty when the system has no keymaps (Debian's xkb-data): viewers with extended keys can type all the same. */
static struct vnc_keymap *keymap_new(void)
{
	const struct xkb_rule_names names = {.rules = "evdev", .model = "pc105", .layout = "us"};
	struct vnc_keymap *m = g_new0(struct vnc_keymap, 1);
	struct xkb_context *context = xkb_context_new(XKB_CONTEXT_NO_ENVIRONMENT_NAMES);
	struct xkb_keymap *map = context ? xkb_keymap_new_from_names(context, &names, XKB_KEYMAP_COMPILE_NO_FLAGS) : NULL;

	m->codes = g_hash_table_new(NULL, NULL);
	if (map)
		xkb_keymap_key_for_each(map, add_code, m->codes);
	xkb_keymap_unref(map);
	xkb_context_unref(context);
	return m;
}

void vnc_input_open(struct vnc *s)
{
	s->keymap = keymap_new();
}

void vnc_input_free(struct vnc *s)
{
	if (s->keymap)
		g_hash_table_unref(s->keymap->codes);
	g_free(s->keymap);
}

static void send_key(struct vnc *s, uint32_t code, bool down)
{
	input_send(s->config.input, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
	input_sync(s->config.input);
}

static void key(struct vnc *s, struct vnc_viewer *v, uint32_t code, bool down)
{
	if (down)
		g_hash_table_add(v->keys, GUINT_TO_POINTER(code));
	else if (!g_hash_table_remove(v->keys, GUINT_TO_POINTER(code)))
		return;
	send_key(s, code, down);
}

static bool holds(const struct vnc_viewer *v, uint32_t code)
{
	return g_hash_table_contains(v->keys, GUINT_TO_POINTER(code));
}

/* Signs, which are what Shift makes of a key; not keys with a name, nor the keypad's. */
static bool is_sign(uint32_t sym)
{
	return sym >= 0x20 && sym < 0x7f;
}

static void keysym(struct vnc *s, struct vnc_viewer *v, uint32_t sym, bool down)
{
	bool shift = holds(v, KEY_LEFTSHIFT) || holds(v, KEY_RIGHTSHIFT), wants;
	uint32_t found, held = holds(v, KEY_RIGHTSHIFT) ? KEY_RIGHTSHIFT : KEY_LEFTSHIFT;

	found = GPOINTER_TO_UINT(g_hash_table_lookup(s->keymap->codes, GUINT_TO_POINTER(sym)));
	if (!found)
		return;
	wants = found & SHIFTED;
	if (g_ascii_isalpha((char)sym) && s->leds & INPUT_LED_CAPS)
		wants = !wants;
	/* Ctrl-C of a keyboard where C has no Shift is what it says. */
	if (!down || !is_sign(sym) || wants == shift || holds(v, KEY_LEFTCTRL) ||
	    holds(v, KEY_RIGHTCTRL) || holds(v, KEY_LEFTALT)) {
		key(s, v, found & 0xffff, down);
		return;
	}
	send_key(s, held, wants);
	key(s, v, found & 0xffff, down);
	send_key(s, held, shift);
}

/* ---- pointers ---- */

static void buttons(struct vnc *s, struct vnc_viewer *v, int now)
{
	static const uint16_t codes[] = {BTN_LEFT, BTN_MIDDLE, BTN_RIGHT};

	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		if ((now ^ v->buttons) >> i & 1)
			input_send(s->config.input,
				   &(struct input_event){.kind = INPUT_BUTTON, .code = codes[i], .down = now >> i & 1});
	for (int i = 0; i < 2; i++)
		if (now & ~v->buttons & 8 << i)
			input_send(s->config.input, &(struct input_event){.kind = INPUT_WHEEL, .y = i ? -1 : 1});
	v->buttons = now;
}

static int scaled(int at, uint32_t size)
{
	return size < 2 ? 0 : (int)((int64_t)CLAMP(at, 0, (int)size - 1) * INPUT_ABSOLUTE_MAX / (size - 1));
}

static void pointer(struct vnc *s, struct vnc_viewer *v, const struct vnc_message *m)
{
	struct input_event e = {.kind = INPUT_ABSOLUTE};

	if (input_pointer_is_absolute(s->config.input)) {
		e.x = scaled(m->x, s->width);
		e.y = scaled(m->y, s->height);
		input_send(s->config.input, &e);
	} else {
		/* Viewers that were told so send distances, others only where they are. */
		bool distances = __atomic_load_n(&v->features.pointer, __ATOMIC_RELAXED);

		e.kind = INPUT_RELATIVE;
		e.x = m->x - (distances ? RELATIVE_CENTER : v->last_x);
		e.y = m->y - (distances ? RELATIVE_CENTER : v->last_y);
		if (distances || v->has_last)
			input_send(s->config.input, &e);
	}
	v->last_x = m->x;
	v->last_y = m->y;
	v->has_last = true;
	buttons(s, v, m->buttons);
	input_sync(s->config.input);
}

void vnc_input_message(struct vnc *s, const struct vnc_message *m)
{
	switch (m->kind) {
	case VNC_MESSAGE_KEY:
		key(s, m->viewer, m->code, m->down);
		break;
	case VNC_MESSAGE_SYM:
		keysym(s, m->viewer, m->code, m->down);
		break;
	case VNC_MESSAGE_POINTER:
		pointer(s, m->viewer, m);
		break;
	default:
		break;
	}
}

void vnc_input_release(struct vnc *s, struct vnc_viewer *v)
{
	g_autoptr(GList) held = g_hash_table_get_keys(v->keys);

	for (GList *l = held; l; l = l->next)
		key(s, v, GPOINTER_TO_UINT(l->data), false);
	if (v->buttons) {
		buttons(s, v, 0);
		input_sync(s->config.input);
	}
}
