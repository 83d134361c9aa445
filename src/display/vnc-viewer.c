/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A viewer's thread: libvncserver speaks RFB (RFC 6143) with it, over a screen of its own. It waits for the viewer and for
 * changes alone; nothing here holds up another viewer, or the guest. See vnc-server.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

#include "vnc-change.h"
#include "vnc-server.h"

enum { CLIENT_WAIT_MS = 20000, REFUSED_US = 1000000 };
enum { SLACK = 256, SLACK_RAW = 4 /* pixels that cost as much as a rectangle of their own */, MOVED_MIN = 256, UNMOVED_MAX = 8 };
enum { TIGHT_PIXELS = 0 /* number of the stream */, TIGHT_LEVEL = 1, TIGHT_MEMORY = 8 /* zlib's memLevel */ };

/* libvncserver has them, without telling in its headers. */
extern rfbBool webSocketsHasDataInBuffer(rfbClientPtr cl);
extern int rfbssl_pending(rfbClientPtr cl);

void vnc_viewer_wake(struct vnc_viewer *v)
{
	eventfd_write(v->wake, 1);
}

static void post(struct vnc_viewer *v, struct vnc_message m)
{
	m.viewer = v;
	vnc_post(&m);
}

void vnc_viewer_over(struct vnc_viewer *v)
{
	if (!__atomic_sub_fetch(&v->running, 1, __ATOMIC_ACQ_REL))
		post(v, (struct vnc_message){.kind = VNC_MESSAGE_GONE});
}

/* ---- what libvncserver asks ---- */

static struct vnc_viewer *viewer_of(rfbClientPtr cl)
{
	return cl->screen->screenData;
}

static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr cl)
{
	post(viewer_of(cl), (struct vnc_message){.kind = VNC_MESSAGE_SYM, .down = down, .code = sym});
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr cl)
{
	/* Where a cursor is painted into the picture of who knows no cursors. */
	if (cl->screen->cursor && !cl->enableCursorShapeUpdates)
		rfbDefaultPtrAddEvent(buttons, x, y, cl);
	post(viewer_of(cl), (struct vnc_message){.kind = VNC_MESSAGE_POINTER, .buttons = buttons, .x = x, .y = y});
}

static int on_desktop_size(int width, int height, int n, rfbExtDesktopScreen *screens, rfbClientPtr cl)
{
	struct vnc_viewer *v = viewer_of(cl);
	bool can;

	if (n != 1 || width <= 0 || height <= 0 || width > VNC_SIZE_MAX || height > VNC_SIZE_MAX)
		return rfbExtDesktopSize_InvalidScreenLayout;
	g_mutex_lock(&v->server->lock);
	can = v->server->can_wish;
	g_mutex_unlock(&v->server->lock);
	if (!can)
		return rfbExtDesktopSize_ResizeProhibited;
	post(v, (struct vnc_message){.kind = VNC_MESSAGE_WISH, .x = width, .y = height});
	return rfbExtDesktopSize_Success;
}

/* RFB's challenge (RFC 6143, 7.2.2). */
static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
	struct vnc *s = viewer_of(cl)->server;
	char password[VNC_PASSWORD_MAX + 1];
	uint8_t wanted[CHALLENGESIZE];
	unsigned differs = 0;
	bool usable;

	g_mutex_lock(&s->lock);
	memcpy(password, s->password, sizeof(password));
	usable = *password && time(NULL) < s->expires;
	g_mutex_unlock(&s->lock);
	memcpy(wanted, cl->authChallenge, sizeof(wanted));
	rfbEncryptBytes(wanted, password);
	for (int i = 0; i < CHALLENGESIZE && i < len; i++)
		differs |= wanted[i] ^ (uint8_t)response[i];
	if (usable && !differs && len == CHALLENGESIZE)
		return TRUE;
	g_usleep(REFUSED_US); /* of this viewer's thread: guessing is slow */
	return FALSE;
}

/* ---- changes ---- */

static void set_format(rfbScreenInfoPtr screen)
{
	screen->serverFormat.redShift = 16;
	screen->serverFormat.greenShift = 8;
	screen->serverFormat.blueShift = 0;
	screen->serverFormat.depth = 24;
}

static void set_frame(struct vnc_viewer *v, rfbScreenInfoPtr screen, uint32_t *frame, uint32_t width, uint32_t height)
{
	rfbNewFramebuffer(screen, (char *)frame, (int)width, (int)height, 8, 3, 4);
	set_format(screen);
	if (v->client)
		screen->setTranslateFunction(v->client);
	g_free(v->frame);
	v->frame = frame;
}

/* Owned by libvncserver, which frees with free(). */
static rfbCursorPtr make_cursor(const struct display_cursor *c)
{
	size_t n = (size_t)c->width * c->height;
	rfbCursorPtr made = calloc(1, sizeof(*made));

	if (!made)
		return NULL;
	made->cleanup = made->cleanupMask = made->cleanupRichSource = TRUE;
	made->width = (uint16_t)c->width;
	made->height = (uint16_t)c->height;
	made->xhot = (uint16_t)MIN(c->hot_x, c->width - 1);
	made->yhot = (uint16_t)MIN(c->hot_y, c->height - 1);
	made->richSource = malloc(n * 4);
	made->alphaSource = malloc(n);
	if (!made->richSource || !made->alphaSource) {
		rfbFreeCursor(made);
		return NULL;
	}
	memcpy(made->richSource, c->pixels, n * 4);
	for (size_t i = 0; i < n; i++)
		made->alphaSource[i] = (uint8_t)(c->pixels[i] >> 24);
	made->mask = (uint8_t *)rfbMakeMaskFromAlphaSource(made->width, made->height, made->alphaSource);
	return made;
}

static void copy_damage(struct vnc_viewer *v, sraRegionPtr damage)
{
	sraRectangleIterator *it = sraRgnGetIterator(damage);
	uint32_t width = v->server->width;
	sraRect r;

	while (sraRgnIteratorNext(it, &r))
		for (int y = r.y1; y < r.y2; y++)
			memcpy(v->frame + (size_t)y * width + r.x1, v->server->shadow + (size_t)y * width + r.x1,
			       (size_t)(r.x2 - r.x1) * 4);
	sraRgnReleaseIterator(it);
}

/* A part of the viewer's picture as it was, and where in it something changed. */
struct past {
	uint32_t *pixels;
	sraRect box;
	sraRegionPtr damage;
};

/* Holds lock. */
static void step(struct vnc_viewer *v, struct past *past)
{
	sraRegionPtr box = sraRgnBBox(v->damage);
	const sraRect *in = &past->box;
	size_t width;

	sraRgnPopRect(box, &past->box, 0);
	sraRgnDestroy(box);
	width = (size_t)(in->x2 - in->x1);
	past->pixels = g_new(uint32_t, width * (size_t)(in->y2 - in->y1));
	for (int y = in->y1; y < in->y2; y++)
		memcpy(past->pixels + (size_t)(y - in->y1) * width, v->frame + (size_t)y * v->server->width + in->x1, width * 4);
	past->damage = sraRgnCreateRgn(v->damage);
	copy_damage(v, past->damage);
}

/* The box of what is worth copying. False: there is nothing. */
static bool find_box(sraRegionPtr pieces, sraRect *ret)
{
	sraRectangleIterator *it = sraRgnGetIterator(pieces);
	sraRect r, box = {INT_MAX, INT_MAX, 0, 0};

	while (sraRgnIteratorNext(it, &r)) {
		if ((r.x2 - r.x1) * (r.y2 - r.y1) < MOVED_MIN)
			continue;
		box = (sraRect){MIN(box.x1, r.x1), MIN(box.y1, r.y1), MAX(box.x2, r.x2), MAX(box.y2, r.y2)};
	}
	sraRgnReleaseIterator(it);
	*ret = box;
	return box.x2;
}

/* A film has none: it is looked at now and then. */
static bool find_move(struct vnc_viewer *v, const struct vnc_change *c, int *ret_dx, int *ret_dy, sraRegionPtr copies)
{
	if (v->skip) {
		v->skip--;
		return false;
	}
	if (vnc_find_move(c, ret_dx, ret_dy, copies)) {
		v->unmoved = 0;
		return true;
	}
	v->unmoved = MIN(v->unmoved + 1, UNMOVED_MAX);
	v->skip = v->unmoved - 1;
	return false;
}

/*
 * What is copied, as parts of the change. It is of what the viewer has: not of what it was not sent yet, nor of a cursor that is
 * painted into its picture.
 */
static sraRegionPtr copy_moved(struct vnc_viewer *v, const struct vnc_change *c, const sraRect *in, sraRegionPtr pieces)
{
	rfbClientPtr cl = v->client;
	sraRegionPtr copies = sraRgnCreate(), unsent;
	struct vnc_change part = *c;
	sraRect box;
	int dx, dy;

	if (!cl->useCopyRect || !sraRgnEmpty(cl->copyRegion) || (cl->screen->cursor && !cl->enableCursorShapeUpdates) ||
	    !find_box(pieces, &box))
		return copies;
	part.old += (size_t)box.y1 * c->old_stride + (size_t)box.x1;
	part.new += (size_t)box.y1 * c->new_stride + (size_t)box.x1;
	part.width = box.x2 - box.x1;
	part.height = box.y2 - box.y1;
	if (find_move(v, &part, &dx, &dy, copies)) {
		sraRgnOffset(copies, box.x1 + in->x1, box.y1 + in->y1);
		unsent = sraRgnCreateRgn(cl->modifiedRegion);
		sraRgnOffset(unsent, dx, dy);
		sraRgnSubtract(copies, unsent);
		sraRgnDestroy(unsent);
		sraRgnOr(cl->copyRegion, copies);
		cl->copyDX = dx;
		cl->copyDY = dy;
		sraRgnOffset(copies, -in->x1, -in->y1);
	}
	return copies;
}

/*
 * Called when the viewer waits for an update, so that what is compared with the new picture is what it shows. libvncserver keeps
 * what is not sent all the same, for a viewer that asks for a part of the screen.
 */
static void tell_change(struct vnc_viewer *v, rfbScreenInfoPtr screen, struct past *past)
{
	const sraRect *in = &past->box;
	size_t width = (size_t)screen->width;
	const struct vnc_change c = {.old = past->pixels, .old_stride = (size_t)(in->x2 - in->x1),
				     .new = v->frame + (size_t)in->y1 * width + in->x1, .new_stride = width,
				     .width = in->x2 - in->x1, .height = in->y2 - in->y1};
	bool plain = v->client->preferredEncoding == -1 || v->client->preferredEncoding == rfbEncodingRaw;
	int slack = plain ? SLACK_RAW : SLACK;
	sraRegionPtr pieces, copies, rest;

	sraRgnOffset(past->damage, -in->x1, -in->y1);
	pieces = vnc_find_pieces(&c, past->damage, slack);
	copies = copy_moved(v, &c, in, pieces);
	if (!sraRgnEmpty(copies)) {
		sraRgnSubtract(pieces, copies);
		rest = vnc_find_pieces(&c, pieces, slack);
		sraRgnDestroy(pieces);
		pieces = rest;
	}
	sraRgnOffset(pieces, in->x1, in->y1);
	rfbMarkRegionAsModified(screen, pieces);
	sraRgnDestroy(copies);
	sraRgnDestroy(pieces);
	sraRgnDestroy(past->damage);
	g_free(past->pixels);
}

static bool is_waiting(const struct vnc_viewer *v)
{
	return v->client && v->client->state == RFB_NORMAL && !sraRgnEmpty(v->client->requestedRegion);
}

/* False: the server wants it to end. */
static bool take_changes(struct vnc_viewer *v, rfbScreenInfoPtr screen)
{
	struct vnc *s = v->server;
	struct past past = {0};
	rfbCursorPtr cursor = NULL;
	uint32_t *frame = NULL, width, height;
	bool new_cursor, quit;

	g_mutex_lock(&s->lock);
	width = s->width;
	height = s->height;
	quit = v->quit;
	if (v->resized)
		frame = g_memdup2(s->shadow, (gsize)width * height * 4);
	else if (is_waiting(v) && !sraRgnEmpty(v->damage))
		step(v, &past);
	if (frame || past.damage)
		sraRgnMakeEmpty(v->damage);
	new_cursor = v->new_cursor;
	if (new_cursor && s->cursor.pixels)
		cursor = make_cursor(&s->cursor);
	v->resized = v->new_cursor = false;
	g_mutex_unlock(&s->lock);

	if (frame)
		set_frame(v, screen, frame, width, height);
	if (past.damage)
		tell_change(v, screen, &past);
	if (new_cursor)
		rfbSetCursor(screen, cursor);
	v->had_cursor |= cursor != NULL;
	return !quit;
}

/* ---- the connection ---- */

/* Whether ClientInit, which is the next byte, asks for being the only one. One within WebSocket's frames does not. */
static bool wants_alone(struct vnc_viewer *v)
{
	uint8_t shared = 1;

	return !v->client->wsctx && recv(v->client->sock, &shared, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && !shared;
}

static void process_message(struct vnc_viewer *v)
{
	rfbClientPtr cl = v->client;
	bool init = cl->state != RFB_NORMAL, alone = cl->state == RFB_INITIALISATION && wants_alone(v);

	if (!vnc_security_message(v))
		rfbProcessClientMessage(cl);
	if (cl->sock == RFB_INVALID_SOCKET)
		return;
	if (init && cl->state == RFB_NORMAL) {
		v->ready = true;
		post(v, (struct vnc_message){.kind = VNC_MESSAGE_READY, .x = alone});
	}
	/* UltraVNC's scaling has pictures that do not follow a change of size. */
	if (cl->scaledScreen != cl->screen)
		rfbCloseClient(cl);
	/* Without a cursor of the guest a viewer keeps its own; but one that was shown is taken away. */
	if (!cl->screen->cursor && !v->had_cursor)
		cl->cursorWasChanged = FALSE;
}

static bool has_buffered(rfbClientPtr cl)
{
	return cl->sock != RFB_INVALID_SOCKET &&
	       ((cl->wsctx && webSocketsHasDataInBuffer(cl)) || (cl->sslctx && rfbssl_pending(cl) > 0));
}

/*
 * libvncserver compresses pixels by zlib at its lowest level in the largest blocks, each of which has one code for all of it.
 * Smaller ones suit what is another over the screen: a film is a thirtieth less. The stream is made before it makes one.
 */
static void open_tight(rfbClientPtr cl)
{
	z_stream *z = &cl->zsStruct[TIGHT_PIXELS];

	if (cl->preferredEncoding != rfbEncodingTight || cl->zsActive[TIGHT_PIXELS])
		return;
	z->zalloc = Z_NULL;
	z->zfree = Z_NULL;
	z->opaque = Z_NULL;
	if (deflateInit2(z, TIGHT_LEVEL, Z_DEFLATED, MAX_WBITS, TIGHT_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
		return;
	cl->zsActive[TIGHT_PIXELS] = TRUE;
	cl->zsLevel[TIGHT_PIXELS] = TIGHT_LEVEL;
}

static void send_updates(struct vnc_viewer *v)
{
	struct vnc *s = v->server;
	rfbClientPtr cl = v->client;
	unsigned leds;
	bool absolute;

	if (cl->state != RFB_NORMAL)
		return;
	g_mutex_lock(&s->lock);
	leds = s->leds;
	absolute = s->absolute;
	g_mutex_unlock(&s->lock);
	open_tight(cl);
	if (!vnc_extension_send(v, leds, absolute))
		rfbCloseClient(cl);
	else
		rfbUpdateClient(cl);
}

static void serve(struct vnc_viewer *v, rfbScreenInfoPtr screen)
{
	rfbClientPtr cl = v->client;
	gint64 started = g_get_monotonic_time();

	while (cl->sock != RFB_INVALID_SOCKET && take_changes(v, screen)) {
		struct pollfd fds[2] = {{cl->sock, POLLIN, 0}, {v->wake, POLLIN, 0}};
		int timeout = v->ready ? -1 : VNC_HANDSHAKE_MS - (int)((g_get_monotonic_time() - started) / 1000);
		eventfd_t count;

		send_updates(v);
		if (cl->sock == RFB_INVALID_SOCKET || (!v->ready && timeout <= 0))
			break;
		if (poll(fds, 2, has_buffered(cl) ? 0 : timeout) < 0 && errno != EINTR)
			break;
		if (fds[1].revents & POLLIN)
			eventfd_read(v->wake, &count);
		if (fds[0].revents || has_buffered(cl))
			process_message(v);
	}
}

/*
 * libvncserver 0.9.14 forgets what it had for a viewer's WebSocket, scaled pictures and extensions: so anybody who may connect
 * could fill the memory. Newer ones forget less.
 */
static void end(struct vnc_viewer *v, rfbScreenInfoPtr screen)
{
	rfbClientPtr cl = v->client;

	if (cl->sock != RFB_INVALID_SOCKET)
		rfbCloseClient(cl);
	g_clear_pointer(&cl->wsctx, free);
	while (cl->extensions) {
		rfbExtensionData *e = cl->extensions;

		cl->extensions = e->next;
		free(e);
	}
	rfbClientConnectionGone(cl);
	while (screen->scaledScreenNext) {
		rfbScreenInfoPtr scaled = screen->scaledScreenNext;

		screen->scaledScreenNext = scaled->scaledScreenNext;
		free(scaled->frameBuffer);
		free(scaled);
	}
}

static char no_file[] = "";

static void set_up(struct vnc_viewer *v, rfbScreenInfoPtr screen)
{
	struct vnc *s = v->server;

	screen->screenData = v;
	screen->desktopName = s->name;
	screen->frameBuffer = NULL;
	screen->deferUpdateTime = 0;
	screen->maxClientWait = CLIENT_WAIT_MS;
	screen->alwaysShared = TRUE; /* who is alone is decided by the server */
	screen->authPasswdData = s->has_password ? s : NULL;
	screen->passwordCheck = check_password;
	screen->kbdAddEvent = on_key;
	screen->ptrAddEvent = on_pointer;
	screen->setDesktopSizeHook = on_desktop_size;
	screen->cursor = NULL;
	screen->pointerClient = NULL;
	/* A viewer may begin with TLS: there is no such file. Without a name GnuTLS would look at what is none. */
	screen->sslcertfile = screen->sslkeyfile = no_file;
}

/* The socket with plain bytes, when there are some where libvncserver wants to see them at once; -1. */
static int take_socket(struct vnc_viewer *v)
{
	int fd = v->inner >= 0 ? v->inner : fcntl(v->fd, F_DUPFD_CLOEXEC, 0);
	struct pollfd p = {fd, POLLIN, 0};
	char go;
	bool good = fd >= 0 && fd < FD_SETSIZE; /* it uses select() */

	if (good && v->inner >= 0)
		good = recv(fd, &go, VNC_GO, 0) == VNC_GO;
	if (good && v->websocket)
		good = poll(&p, 1, VNC_HANDSHAKE_MS) > 0;
	if (fd >= 0 && !good)
		close(fd);
	return good ? fd : -1;
}

gpointer vnc_viewer_run(gpointer opaque)
{
	struct vnc_viewer *v = opaque;
	rfbScreenInfoPtr screen = v->server->screen[v->slot];
	sigset_t broken_pipe;
	int fd;

	if (v->server->config.thread)
		v->server->config.thread();
	/* libvncserver uses write(). */
	sigemptyset(&broken_pipe);
	sigaddset(&broken_pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL);
	set_up(v, screen);
	take_changes(v, screen); /* the first frame */
	fd = take_socket(v);
	if (fd >= 0)
		v->client = rfbNewClient(screen, fd);
	/* A page of any web site may open a WebSocket: it shall not do so at the port for viewers. */
	if (v->client && v->client->wsctx && !v->websocket)
		rfbCloseClient(v->client);
	if (v->client) {
		serve(v, screen);
		end(v, screen);
	}
	rfbSetCursor(screen, NULL);
	screen->frameBuffer = NULL;
	g_clear_pointer(&v->frame, g_free);
	vnc_viewer_over(v);
	return NULL;
}
