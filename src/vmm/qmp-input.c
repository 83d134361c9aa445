/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands that type keys and move pointers, by the names of QEMU's qapi/ui.json. Keys of send-key are held for a while, one
 * command after the other. See qmp.h; the guest's devices are behind input.h.
 */
#include <string.h>

#include <linux/input-event-codes.h>

#include "input.h"
#include "qmp.h"
#include "qmp-input.h"
#include "schema.h"
#include "vmm.h"

enum {
	HOLD_MS = 100,
	HOLD_MAX_MS = 60000,
	STEPS_MAX = 1024, /* that wait */
	POINTERS_MAX = 16,
};

/* QKeyCode, in its order; unmapped and what Linux has no key for are 0. */
static const char *const key_names[] = {
	"unmapped", "shift", "shift_r", "alt", "alt_r", "ctrl", "ctrl_r", "menu", "esc", "1", "2", "3", "4", "5", "6", "7", "8",
	"9", "0", "minus", "equal", "backspace", "tab", "q", "w", "e", "r", "t", "y", "u", "i", "o", "p", "bracket_left",
	"bracket_right", "ret", "a", "s", "d", "f", "g", "h", "j", "k", "l", "semicolon", "apostrophe", "grave_accent",
	"backslash", "z", "x", "c", "v", "b", "n", "m", "comma", "dot", "slash", "asterisk", "spc", "caps_lock", "f1", "f2",
	"f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "num_lock", "scroll_lock", "kp_divide", "kp_multiply", "kp_subtract",
	"kp_add", "kp_enter", "kp_decimal", "sysrq", "kp_0", "kp_1", "kp_2", "kp_3", "kp_4", "kp_5", "kp_6", "kp_7", "kp_8",
	"kp_9", "less", "f11", "f12", "print", "home", "pgup", "pgdn", "end", "left", "up", "down", "right", "insert", "delete",
	"stop", "again", "props", "undo", "front", "copy", "open", "paste", "find", "cut", "lf", "help", "meta_l", "meta_r",
	"compose", "pause", "ro", "hiragana", "henkan", "yen", "muhenkan", "katakanahiragana", "kp_comma", "kp_equals", "power",
	"sleep", "wake", "audionext", "audioprev", "audiostop", "audioplay", "audiomute", "volumeup", "volumedown",
	"mediaselect", "mail", "calculator", "computer", "ac_home", "ac_back", "ac_forward", "ac_refresh", "ac_bookmarks",
	"lang1", "lang2", NULL};

static const uint16_t key_codes[] = {
	0, KEY_LEFTSHIFT, KEY_RIGHTSHIFT, KEY_LEFTALT, KEY_RIGHTALT, KEY_LEFTCTRL, KEY_RIGHTCTRL, KEY_COMPOSE, KEY_ESC, KEY_1,
	KEY_2, KEY_3, KEY_4, KEY_5, KEY_6, KEY_7, KEY_8, KEY_9, KEY_0, KEY_MINUS, KEY_EQUAL, KEY_BACKSPACE, KEY_TAB, KEY_Q,
	KEY_W, KEY_E, KEY_R, KEY_T, KEY_Y, KEY_U, KEY_I, KEY_O, KEY_P, KEY_LEFTBRACE, KEY_RIGHTBRACE, KEY_ENTER, KEY_A, KEY_S,
	KEY_D, KEY_F, KEY_G, KEY_H, KEY_J, KEY_K, KEY_L, KEY_SEMICOLON, KEY_APOSTROPHE, KEY_GRAVE, KEY_BACKSLASH, KEY_Z, KEY_X,
	KEY_C, KEY_V, KEY_B, KEY_N, KEY_M, KEY_COMMA, KEY_DOT, KEY_SLASH, KEY_KPASTERISK, KEY_SPACE, KEY_CAPSLOCK, KEY_F1,
	KEY_F2, KEY_F3, KEY_F4, KEY_F5, KEY_F6, KEY_F7, KEY_F8, KEY_F9, KEY_F10, KEY_NUMLOCK, KEY_SCROLLLOCK, KEY_KPSLASH,
	KEY_KPASTERISK, KEY_KPMINUS, KEY_KPPLUS, KEY_KPENTER, KEY_KPDOT, KEY_SYSRQ, KEY_KP0, KEY_KP1, KEY_KP2, KEY_KP3, KEY_KP4,
	KEY_KP5, KEY_KP6, KEY_KP7, KEY_KP8, KEY_KP9, KEY_102ND, KEY_F11, KEY_F12, KEY_SYSRQ, KEY_HOME, KEY_PAGEUP, KEY_PAGEDOWN,
	KEY_END, KEY_LEFT, KEY_UP, KEY_DOWN, KEY_RIGHT, KEY_INSERT, KEY_DELETE, KEY_STOP, KEY_AGAIN, KEY_PROPS, KEY_UNDO,
	KEY_FRONT, KEY_COPY, KEY_OPEN, KEY_PASTE, KEY_FIND, KEY_CUT, KEY_LINEFEED, KEY_HELP, KEY_LEFTMETA, KEY_RIGHTMETA,
	KEY_COMPOSE, KEY_PAUSE, KEY_RO, KEY_HIRAGANA, KEY_HENKAN, KEY_YEN, KEY_MUHENKAN, KEY_KATAKANAHIRAGANA, KEY_KPCOMMA,
	KEY_KPEQUAL, KEY_POWER, KEY_SLEEP, KEY_WAKEUP, KEY_NEXTSONG, KEY_PREVIOUSSONG, KEY_STOPCD, KEY_PLAYPAUSE, KEY_MUTE,
	KEY_VOLUMEUP, KEY_VOLUMEDOWN, KEY_MEDIA, KEY_MAIL, KEY_CALC, KEY_COMPUTER, KEY_HOMEPAGE, KEY_BACK, KEY_FORWARD,
	KEY_REFRESH, KEY_BOOKMARKS, KEY_HANGEUL, KEY_HANJA};
G_STATIC_ASSERT(G_N_ELEMENTS(key_names) == G_N_ELEMENTS(key_codes) + 1);

/* Set 1 codes behind 0xe0 (0x80 and more of a KeyValue's number); those below are Linux's. */
static const uint8_t extended_keys[] = {
	[0x1c] = KEY_KPENTER, [0x1d] = KEY_RIGHTCTRL, [0x35] = KEY_KPSLASH, [0x37] = KEY_SYSRQ,	 [0x38] = KEY_RIGHTALT,
	[0x46] = KEY_PAUSE,   [0x47] = KEY_HOME,      [0x48] = KEY_UP,	    [0x49] = KEY_PAGEUP, [0x4b] = KEY_LEFT,
	[0x4d] = KEY_RIGHT,   [0x4f] = KEY_END,	      [0x50] = KEY_DOWN,    [0x51] = KEY_PAGEDOWN, [0x52] = KEY_INSERT,
	[0x53] = KEY_DELETE,  [0x5b] = KEY_LEFTMETA,  [0x5c] = KEY_RIGHTMETA, [0x5d] = KEY_COMPOSE,
};

static const char *const key_kinds[] = {"number", "qcode", NULL};
static const char *const button_names[] = {"left", "middle", "right", "wheel-up", "wheel-down", "side", "extra", NULL};
static const char *const axis_names[] = {"x", "y", NULL};
static const char *const event_kinds[] = {"key", "btn", "rel", "abs", NULL};
static const struct qmp_type key_kind = {.kind = QMP_ENUM, .values = key_kinds};
static const struct qmp_type key_name = {.kind = QMP_ENUM, .values = key_names};
static const struct qmp_type button = {.kind = QMP_ENUM, .values = button_names};
static const struct qmp_type axis = {.kind = QMP_ENUM, .values = axis_names};
static const struct qmp_type event_kind = {.kind = QMP_ENUM, .values = event_kinds};

static const struct qmp_member key_members[] = {{"type", &key_kind},
						{"data", &qmp_integer, .tag = "type", .value = "number"},
						{"data", &key_name, .tag = "type", .value = "qcode"},
						{}};
static const struct qmp_type key = {.kind = QMP_OBJECT, .members = key_members};
static const struct qmp_type key_list = {.kind = QMP_LIST, .item = &key};
static const struct qmp_member key_event_members[] = {{"key", &key}, {"down", &qmp_boolean}, {}};
static const struct qmp_member button_event_members[] = {{"button", &button}, {"down", &qmp_boolean}, {}};
static const struct qmp_member move_event_members[] = {{"axis", &axis}, {"value", &qmp_integer}, {}};
static const struct qmp_type key_event = {.kind = QMP_OBJECT, .members = key_event_members};
static const struct qmp_type button_event = {.kind = QMP_OBJECT, .members = button_event_members};
static const struct qmp_type move_event = {.kind = QMP_OBJECT, .members = move_event_members};
static const struct qmp_member event_members[] = {{"type", &event_kind},
						  {"data", &key_event, .tag = "type", .value = "key"},
						  {"data", &button_event, .tag = "type", .value = "btn"},
						  {"data", &move_event, .tag = "type", .value = "rel"},
						  {"data", &move_event, .tag = "type", .value = "abs"},
						  {}};
static const struct qmp_type event = {.kind = QMP_OBJECT, .members = event_members};
static const struct qmp_type event_list = {.kind = QMP_LIST, .item = &event};

const struct qmp_member qmp_send_key_args[] = {{"keys", &key_list}, {"hold-time", &qmp_integer, .optional = true}, {}};
const struct qmp_member qmp_input_send_event_args[] = {{"events", &event_list}, {}};

/* ---- keys ---- */

static unsigned index_of(const char *const *names, const char *name)
{
	unsigned i = 0;

	while (names[i] && strcmp(names[i], name))
		i++;
	return i;
}

/* A Linux code; 0: none. */
static unsigned key_code(JsonObject *value)
{
	gint64 n;

	if (!strcmp(json_object_get_string_member(value, "type"), "qcode"))
		return key_codes[index_of(key_names, json_object_get_string_member(value, "data"))];
	n = json_object_get_int_member(value, "data");
	if (n > 0 && n < 0x59)
		return (unsigned)n;
	n &= 0x7f;
	return n < (gint64)G_N_ELEMENTS(extended_keys) ? extended_keys[n] : 0;
}

struct step {
	unsigned code;
	bool down;
	unsigned wait; /* ms, after it */
};

struct qmp_keys {
	struct vmm *vmm;
	GQueue steps; /* struct step */
	guint timer;
};

static void send_key(struct vmm *vmm, unsigned code, bool down)
{
	input_send(vmm->input, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
}

static gboolean run_steps(gpointer opaque)
{
	struct qmp_keys *k = opaque;
	struct step *s;

	k->timer = 0;
	while (!k->timer && (s = g_queue_pop_head(&k->steps))) {
		send_key(k->vmm, s->code, s->down);
		input_sync(k->vmm->input);
		if (s->wait)
			k->timer = g_timeout_add(s->wait, run_steps, k);
		g_free(s);
	}
	return G_SOURCE_REMOVE;
}

void qmp_keys_free(struct qmp_keys *k)
{
	if (!k)
		return;
	if (k->timer)
		g_source_remove(k->timer);
	g_queue_clear_full(&k->steps, g_free);
	g_free(k);
}

static void add_step(struct qmp_keys *k, JsonArray *keys, unsigned i, bool down, unsigned wait)
{
	struct step *s = g_new0(struct step, 1);

	*s = (struct step){key_code(json_array_get_object_element(keys, i)), down, wait};
	g_queue_push_tail(&k->steps, s);
}

/* All go down in order, are held, and go up in the other order. */
JsonNode *qmp_send_key(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	JsonArray *keys = json_object_get_array_member(args, "keys");
	gint64 hold = json_object_get_int_member_with_default(args, "hold-time", 0);
	unsigned n = json_array_get_length(keys), wait = hold > 0 ? (unsigned)MIN(hold, HOLD_MAX_MS) : HOLD_MS;
	struct qmp_keys *k = vmm->keys;

	if (!k) {
		k = vmm->keys = g_new0(struct qmp_keys, 1);
		k->vmm = vmm;
		g_queue_init(&k->steps);
	}
	if (g_queue_get_length(&k->steps) + 2ull * n > STEPS_MAX)
		return qmp_fail(error, QMP_ERROR_GENERIC, "too many keys wait to be typed: %d is the most", STEPS_MAX);
	for (unsigned i = 0; i < n; i++)
		add_step(k, keys, i, true, i + 1 < n ? 0 : wait);
	for (unsigned i = n; i-- > 0;)
		add_step(k, keys, i, false, 0);
	if (!k->timer)
		run_steps(k);
	return qmp_nothing();
}

/* ---- events ---- */

struct button {
	unsigned code; /* 0: the wheel */
	int wheel;
};
static const struct button buttons[] = {{BTN_LEFT}, {BTN_MIDDLE}, {BTN_RIGHT}, {0, 1}, {0, -1}, {BTN_SIDE}, {BTN_EXTRA}};
G_STATIC_ASSERT(G_N_ELEMENTS(button_names) == G_N_ELEMENTS(buttons) + 1);

static enum input_kind kind_of(const char *type)
{
	static const enum input_kind kinds[] = {INPUT_KEY, INPUT_BUTTON, INPUT_RELATIVE, INPUT_ABSOLUTE};

	return kinds[index_of(event_kinds, type)];
}

static void send_button(struct vmm *vmm, JsonObject *data)
{
	const struct button *b = &buttons[index_of(button_names, json_object_get_string_member(data, "button"))];
	bool down = json_object_get_boolean_member(data, "down");

	if (b->code)
		input_send(vmm->input, &(struct input_event){.kind = INPUT_BUTTON, .code = b->code, .down = down});
	else if (down)
		input_send(vmm->input, &(struct input_event){.kind = INPUT_WHEEL, .y = b->wheel});
}

static void send_move(struct vmm *vmm, JsonObject *data, bool absolute)
{
	bool is_x = !strcmp(json_object_get_string_member(data, "axis"), "x");
	gint64 value = json_object_get_int_member(data, "value");
	struct input_event e = {.kind = absolute ? INPUT_ABSOLUTE : INPUT_RELATIVE};

	if (absolute) {
		/* An event has one axis: the other is where it was. */
		*(is_x ? &vmm->pointer_x : &vmm->pointer_y) = (int)CLAMP(value, 0, INPUT_ABSOLUTE_MAX);
		e.x = vmm->pointer_x;
		e.y = vmm->pointer_y;
	} else {
		*(is_x ? &e.x : &e.y) = (int)CLAMP(value, INT16_MIN, INT16_MAX);
	}
	input_send(vmm->input, &e);
}

JsonNode *qmp_input_send_event(void *opaque, JsonObject *args, GError **error)
{
	struct vmm *vmm = opaque;
	JsonArray *events = json_object_get_array_member(args, "events");

	if (vmm->stopped)
		return qmp_fail(error, QMP_ERROR_GENERIC, "VM not running");
	for (unsigned i = 0; i < json_array_get_length(events); i++) {
		const char *type = json_object_get_string_member(json_array_get_object_element(events, i), "type");

		if (!input_takes(vmm->input, kind_of(type)))
			return qmp_fail(error, QMP_ERROR_GENERIC, "Input handler not found for event type %s", type);
	}
	for (unsigned i = 0; i < json_array_get_length(events); i++) {
		JsonObject *e = json_array_get_object_element(events, i), *data = json_object_get_object_member(e, "data");
		enum input_kind kind = kind_of(json_object_get_string_member(e, "type"));

		if (kind == INPUT_KEY)
			send_key(vmm, key_code(json_object_get_object_member(data, "key")),
				 json_object_get_boolean_member(data, "down"));
		else if (kind == INPUT_BUTTON)
			send_button(vmm, data);
		else
			send_move(vmm, data, kind == INPUT_ABSOLUTE);
	}
	input_sync(vmm->input);
	return qmp_nothing();
}

JsonNode *qmp_query_mice(void *opaque, JsonObject *args, GError **error)
{
	const struct vmm *vmm = opaque;
	const struct input_device *found[POINTERS_MAX];
	unsigned n = input_list(vmm->input, INPUT_RELATIVE | INPUT_ABSOLUTE, found, POINTERS_MAX);
	JsonArray *list = json_array_new();

	for (unsigned i = 0; i < n; i++) {
		JsonObject *o = json_object_new();

		json_object_set_string_member(o, "name", found[i]->name);
		json_object_set_int_member(o, "index", i);
		json_object_set_boolean_member(o, "current", i == 0);
		json_object_set_boolean_member(o, "absolute", (found[i]->kinds & INPUT_ABSOLUTE) != 0);
		json_array_add_object_element(list, o);
	}
	return qmp_array(list);
}
