/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: one virtio device (FUZZ_DEVICE, given by the build) on a PCI bus with memory
 * and no CPU. The input is a program of a hostile driver: register writes and reads, bytes
 * into memory, notifications, ring indices pushed on, backend events, save and load. Rings
 * are set up where the input says. Nothing is expected but that the process survives, and
 * that a reset brings the device back to status 0.
 *
 * Input: operations of one byte and their operands (see step()); it ends with the bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "bytes.h"
#include "char.h"
#include "device.h"
#include "disk.h"
#include "fuzz-display.h"
#include "image.h"
#include "input.h"
#include "net.h"
#include "devices/virtio-vsock.h"
#include "virtio-pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	RAM = 0x8000,
	RINGS = 0x400, /* bytes from one queue's areas to the next one's */
	BAR = 0xc0000000,
	ECAM = 0xb0000000,
	NOTIFY = 0x3000,
	DEVICE = 0x2000,
	DISK = 1 << 16,
	FULL_AT = 7 << 9,
	FRONT = 0x1000, /* bytes of the VGA's in front of virtio's */
	LUNS = 4,
};

static const bool is_vga = sizeof(FUZZ_DEVICE) == sizeof("virtio-vga") && FUZZ_DEVICE[7] == 'v' && FUZZ_DEVICE[8] == 'g';

/* --- backends: all of them, the device takes what it needs --- */

static uint8_t disk[DISK];
static struct image_req *queued;
static bool full; /* a write at FULL_AT finds the host full */

/* image.h's queues, in place of the library's. */
struct image_queue *image_queue_new(struct image *img, GMainContext *context, unsigned depth, GError **error)
{
	struct image_queue *q = g_new0(struct image_queue, 1);

	q->image = img;
	return q;
}

static void (*batch)(void *opaque); /* of virtio-blk's one queue */
static void *batch_opaque;

void image_queue_on_batch(struct image_queue *q, void (*fn)(void *opaque), void *opaque)
{
	batch = fn;
	batch_opaque = opaque;
}

void image_queue_hurry(struct image_queue *q)
{
}

void image_queue_free(struct image_queue *q)
{
	batch = NULL;
	g_free(q);
}

void image_close(struct image *img)
{
}

bool image_resize(struct image *img, uint64_t size, enum image_prealloc prealloc, GError **error)
{
	return false;
}

void image_reap(struct image_queue *q, unsigned us)
{
}

struct image *image_ref(struct image *img)
{
	return img;
}

void image_drain_begin(struct image *img)
{
}

void image_drain_end(struct image *img)
{
}

void image_queue_set_image(struct image_queue *q, struct image *img)
{
	q->image = img;
}

void image_submit(struct image_queue *q, struct image_req *r)
{
	r->link = queued;
	queued = r;
}

static int disk_run(struct image_req *r)
{
	uint64_t at = r->offset;

	if (r->op == IMAGE_FLUSH)
		return 0;
	if (!range_inside(r->offset, r->len, DISK))
		abort(); /* the device let it through */
	if (r->op != IMAGE_READ && r->op != IMAGE_WRITE)
		return -ENOTSUP;
	if (r->op == IMAGE_WRITE && at == FULL_AT && full)
		return -ENOSPC;
	for (unsigned i = 0; i < r->n_iov; i++) {
		if (at + r->iov[i].iov_len > r->offset + r->len)
			abort();
		if (r->op == IMAGE_READ)
			memcpy(r->iov[i].iov_base, disk + at, r->iov[i].iov_len);
		else
			memcpy(disk + at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	return at == r->offset + r->len ? 0 : -EIO;
}

static gboolean disk_complete(gpointer data)
{
	struct image_req *list = queued;

	queued = NULL;
	while (list) {
		struct image_req *r = list;

		list = r->link;
		r->complete(r, disk_run(r));
	}
	if (batch)
		batch(batch_opaque);
	return G_SOURCE_REMOVE;
}

void image_kick(struct image_queue *q)
{
	if (queued)
		g_idle_add(disk_complete, NULL);
}

static void net_take(struct netdev *dev, const struct virtio_net_hdr *hdr, const struct iovec *iov,
		     unsigned n_iov)
{
	volatile uint8_t sum = hdr->flags;

	for (unsigned i = 0; i < n_iov; i++)
		for (size_t k = 0; k < iov[i].iov_len; k++)
			sum += ((uint8_t *)iov[i].iov_base)[k];
}

static void net_room(struct netdev *dev)
{
}

static const struct net_backend net_backend = { .send = net_take, .resume = net_room };

/* char.h, in place of the library's. */
void char_attach(struct chardev *c, const struct char_client *client, void *opaque)
{
	c->client = client;
	c->client_opaque = opaque;
}

void char_write(struct chardev *c, const uint8_t *data, size_t len)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += data[i];
}

bool char_writable(struct chardev *c)
{
	return true;
}

struct chardev *char_open(const char *spec, GError **error)
{
	return NULL;
}

void char_close(struct chardev *c)
{
}

bool char_connected(struct chardev *c)
{
	return true;
}

void char_resume(struct chardev *c)
{
}

/* virtio-vsock.h's way to the host: who connects gets a peer that echoes nothing and leaves when the input says so. */
static int listener = -1, peers[8];
static unsigned n_peers;

int vsock_host_listen(const char *path, GError **error)
{
	return listener = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void vsock_host_close(int fd, const char *path)
{
	close(fd);
}

int vsock_host_connect(const char *path, uint32_t port)
{
	int pair[2];

	if (n_peers == G_N_ELEMENTS(peers) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -1;
	peers[n_peers++] = pair[1];
	return pair[0];
}

static void peer_event(const uint8_t *data, size_t len, unsigned what)
{
	int fd = n_peers ? peers[what % n_peers] : -1;

	if (fd < 0)
		return;
	if (what & 8)
		shutdown(fd, SHUT_WR);
	else if (what & 16) {
		close(fd);
		peers[what % n_peers] = peers[n_peers - 1];
		n_peers--;
	} else if (send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void close_peers(void)
{
	while (n_peers)
		close(peers[--n_peers]);
}

/* Who looks at the display reads all of it. */
static void on_surface(void *opaque, unsigned head, const struct display_surface *s)
{
	volatile uint8_t sum = 0;

	for (uint32_t y = 0; y < s->height; y++)
		for (uint32_t x = 0; x < s->width * 4; x += 64)
			sum += ((const uint8_t *)s->pixels)[(size_t)y * s->stride + x];
	if (s->height)
		sum += ((const uint8_t *)s->pixels)[(size_t)(s->height - 1) * s->stride + s->width * 4 - 1];
}

static const struct display_viewer viewer = {.surface = on_surface, .damage = fuzz_on_damage};

static void look(struct display *d)
{
	for (unsigned head = 0; head < 2; head++) {
		struct display_surface s;

		display_refresh(d, head);
		if (display_get_surface(d, head, &s))
			on_surface(d, head, &s);
	}
}

/* --- the machine --- */

struct fuzz {
	struct machine_core core;
	struct device *dev;
	struct device *lun[LUNS]; /* of a SCSI controller, or NULL */
	struct disk *disk, *lun_disk[LUNS];
	struct image img;
	struct netdev net;
	struct chardev chr, agent;
	struct device_port port;
	struct fuzz_input in;
};

static void request(void *machine, enum machine_request what)
{
}

/* The common structure is where it is with a VGA in front, or without. */
static uint64_t at_bar(uint64_t offset)
{
	return BAR + offset + (is_vga && offset < FRONT / 2 ? FRONT : 0);
}

static void write_bar(struct fuzz *f, uint64_t offset, unsigned size, uint64_t value)
{
	bus_access(f->core.mmio, at_bar(offset), &value, size, true);
}

static uint64_t read_bar(struct fuzz *f, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	bus_access(f->core.mmio, at_bar(offset), &v, size, false);
	return v;
}

/* The ordinary driver's way to a running device, with features the input chooses among. */
static void bring_up(struct fuzz *f)
{
	unsigned omit = fuzz_take(&f->in, 2), common = fuzz_take(&f->in, 1), size_log = fuzz_take(&f->in, 1) & 3;
	uint64_t offered, wanted;

	write_bar(f, VIRTIO_PCI_COMMON_STATUS, 1, 0);
	write_bar(f, VIRTIO_PCI_COMMON_STATUS, 1, 3);
	write_bar(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	offered = read_bar(f, VIRTIO_PCI_COMMON_DF, 4);
	write_bar(f, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	offered |= read_bar(f, VIRTIO_PCI_COMMON_DF, 4) << 32;
	wanted = offered & ~(uint64_t)(omit | (omit & 0xff) << 16) & ~((uint64_t)(common & 7) << 28);
	if (!(common & 8))
		wanted &= ~(1ull << VIRTIO_F_RING_PACKED);
	for (unsigned i = 0; i < 2; i++) {
		write_bar(f, VIRTIO_PCI_COMMON_GFSELECT, 4, i);
		write_bar(f, VIRTIO_PCI_COMMON_GF, 4, wanted >> 32 * i & UINT32_MAX);
	}
	write_bar(f, VIRTIO_PCI_COMMON_STATUS, 1, 11);
	for (unsigned i = 0; i < read_bar(f, VIRTIO_PCI_COMMON_NUMQ, 2) && i < 6; i++) {
		uint64_t at = i * RINGS, size;

		write_bar(f, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
		size = MIN(read_bar(f, VIRTIO_PCI_COMMON_Q_SIZE, 2), 4u << size_log);
		write_bar(f, VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
		write_bar(f, VIRTIO_PCI_COMMON_Q_DESCLO, 4, at);
		write_bar(f, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, at + 0x200);
		write_bar(f, VIRTIO_PCI_COMMON_Q_USEDLO, 4, at + 0x280);
		write_bar(f, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	}
	write_bar(f, VIRTIO_PCI_COMMON_STATUS, 1, 15);
}

/* A chain of well-formed descriptors, whose addresses and lengths the input chooses. */
static void add_chain(struct fuzz *f)
{
	unsigned q = fuzz_take(&f->in, 1), n = 1 + (q >> 4 & 3), out = q >> 6;
	uint8_t *ram = gpa_ptr(f->core.mem, 0, RAM);
	uint64_t ring = (q & 7) % 6 * RINGS;
	uint16_t idx = get_le16(ram + ring + 0x202);

	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = ram + ring + 16 * i;

		put_le64(d, fuzz_take(&f->in, 2) % (RAM + 64));
		put_le32(d + 8, fuzz_take(&f->in, 2) & 0x1fff);
		put_le16(d + 12, (i >= out ? 2 : 0) | (i + 1 < n ? 1 : 0));
		put_le16(d + 14, i + 1);
	}
	put_le16(ram + ring + 0x204 + 2 * (idx & 3), 0);
	put_le16(ram + ring + 0x202, idx + 1);
	write_bar(f, NOTIFY + 4 * (q & 7), 2, q & 7);
}

/* Target 0 has two disks and a CD-ROM drive, another one has no LUN 0. */
static void add_lun(struct fuzz *f, unsigned i, bool hot)
{
	static const unsigned address[LUNS][2] = {{0, 0}, {0, 2}, {0, 258}, {3, 1}};
	struct device_backend backend = {.disk = f->lun_disk[i], .controller = f->dev};
	g_autofree char *id = g_strdup_printf("lun%u", i);
	g_autoptr(GVariant) at = g_variant_ref_sink(g_variant_new_parsed(
		"{'scsi-id': <%t>, 'lun': <%t>}", (guint64)address[i][0], (guint64)address[i][1]));

	f->lun[i] = device_new(&f->core, i == 2 ? "scsi-cd" : "scsi-disk", id, at, &backend, NULL);
	if (!f->lun[i])
		abort();
	f->dev->cls->plugged(f->dev, f->lun[i], hot);
}

/* A unit goes, when it is idle, or comes again. */
static void plug_lun(struct fuzz *f, unsigned i)
{
	if (strcmp(FUZZ_DEVICE, "virtio-scsi"))
		return;
	if (!f->lun[i])
		add_lun(f, i, true);
	else if (f->lun[i]->cls->leave(f->lun[i]))
		device_free(g_steal_pointer(&f->lun[i]));
}

static void backend_event(struct fuzz *f)
{
	static const struct virtio_net_hdr plain;
	struct virtio_net_hdr h = plain;
	uint8_t frame[3000];
	unsigned len = 14 + fuzz_take(&f->in, 2) % (sizeof(frame) - 14);
	struct iovec iov = { frame, len };

	memset(frame, fuzz_take(&f->in, 1), sizeof(frame));
	h.flags = fuzz_take(&f->in, 1);
	h.gso_type = h.flags >> 4;
	if (f->net.client) {
		f->net.client->receive(f->net.client_opaque, &h, &iov, 1);
		f->net.client->link_changed(f->net.client_opaque, h.flags & 1);
	}
	for (unsigned i = 0; i <= (h.flags & 31); i++) {
		input_send(f->core.input, &(struct input_event){.kind = INPUT_KEY, .code = len & 0xff, .down = h.flags & 1});
		input_send(f->core.input, &(struct input_event){.kind = INPUT_ABSOLUTE, .x = len, .y = -1});
		input_sync(f->core.input);
	}
	look(f->core.display);
	display_wish(f->core.display, h.flags & 1, len, h.flags);
	peer_event(frame, len, h.flags);
	plug_lun(f, h.flags % LUNS);
	if (f->agent.client) {
		f->agent.client->connected(f->agent.client_opaque, h.flags & 2);
		f->agent.client->receive(f->agent.client_opaque, frame,
					 MIN(len, f->agent.client->can_receive(f->agent.client_opaque)));
	}
	if (f->chr.client)
		f->chr.client->receive(f->chr.client_opaque, frame,
				       MIN(len, f->chr.client->can_receive(f->chr.client_opaque)));
}

/* Half of the time a stream from somewhere else, which says what a driver never wrote. */
static void falsify(struct fuzz *f, unsigned what, unsigned bit)
{
	struct virtio_device *v = &((struct virtio_pci_device *)f->dev)->v;
	struct virtqueue *vq = &v->queues[(what >> 3) % v->n_queues];
	const struct {
		void *field;
		unsigned size;
	} fields[] = {
		{ &v->status, 1 },     { &v->features, 8 },    { &vq->size, 2 },
		{ &vq->desc, 8 },      { &vq->avail, 8 },      { &vq->used, 8 },
		{ &vq->next_avail, 2 }, { &vq->next_used, 2 },
	};

	what &= 7;
	((uint8_t *)fields[what].field)[bit / 8 % fields[what].size] ^= 1 << bit % 8;
}

static uint32_t checksum(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

/* Any byte of a stream, whose checksum (state.h) is made to fit. */
static void falsify_stream(GByteArray *stream, unsigned where, unsigned bit)
{
	stream->data[12 + where % (stream->len - 12)] ^= 1 << (bit & 7);
	put_le32(stream->data + 8, checksum(stream->data + 12, stream->len - 12));
}

static void resume(struct fuzz *f)
{
	f->dev->cls->resume(f->dev);
	for (unsigned i = 0; i < LUNS; i++)
		if (f->lun[i])
			f->lun[i]->cls->resume(f->lun[i]);
}

static void save_and_load(struct fuzz *f, bool wrong)
{
	GByteArray *stream = g_byte_array_new();
	unsigned what = fuzz_take(&f->in, 2), bit = fuzz_take(&f->in, 1);
	GError *error = NULL;
	size_t offset = 0;
	GBytes *bytes;

	f->dev->cls->pause(f->dev);
	if (what & 1 && !wrong)
		falsify(f, what >> 1, bit);
	state_save(stream, f->dev->cls->state, f->dev->id, f->dev);
	if (wrong)
		falsify_stream(stream, what * 5 + (bit >> 3), bit);
	bytes = g_bytes_new(stream->data, stream->len);
	if (!state_load(bytes, &offset, f->dev->cls->state, f->dev->id, f->dev, &error))
		f->dev->cls->reset(f->dev);
	g_clear_error(&error);
	resume(f);
	g_bytes_unref(bytes);
	g_byte_array_free(stream, TRUE);
}

static void map_bar(struct fuzz *f)
{
	uint32_t bar = BAR, command = PCI_COMMAND_MEMORY;

	if (is_vga)
		bus_access(f->core.mmio, ECAM + PCI_BASE_ADDRESS_0, &(uint32_t){BAR + 0x8000000}, 4, true);
	bus_access(f->core.mmio, ECAM + (is_vga ? PCI_BASE_ADDRESS_2 : PCI_BASE_ADDRESS_0), &bar, 4, true);
	bus_access(f->core.mmio, ECAM + PCI_COMMAND, &command, 2, true);
}

static void run_context(void)
{
	for (unsigned i = 0; i < 64 && g_main_context_iteration(NULL, FALSE); i++)
		continue;
}

static void step(struct fuzz *f)
{
	uint8_t *ram = gpa_ptr(f->core.mem, 0, RAM);
	unsigned op = fuzz_take(&f->in, 1), at, n;
	uint32_t v;

	switch (op & 15) {
	case 0:
		bring_up(f);
		break;
	case 1: /* any register */
		at = fuzz_take(&f->in, 1);
		write_bar(f, at % 64, 1u << (op >> 4 & 3), fuzz_take(&f->in, 4));
		break;
	case 2:
		read_bar(f, fuzz_take(&f->in, 2) & 0x7fff, 1u << (op >> 4 & 3));
		break;
	case 3:
		at = fuzz_take(&f->in, 1);
		write_bar(f, DEVICE + at, 1u << (op >> 4 & 3), fuzz_take(&f->in, 4));
		break;
	case 4:
	case 5: /* bytes into memory */
		at = fuzz_take(&f->in, 2) % RAM;
		for (n = 1 + (op >> 4); n-- && at < RAM;)
			ram[at++] = fuzz_take(&f->in, 1);
		break;
	case 6:
		write_bar(f, NOTIFY + 4 * (op >> 4), 2, op >> 4);
		break;
	case 7:
		backend_event(f);
		break;
	case 8:
		save_and_load(f, op & 0x80);
		break;
	case 9: /* configuration space: capabilities, command, BARs */
		at = fuzz_take(&f->in, 1);
		v = fuzz_take(&f->in, 4);
		bus_access(f->core.mmio, ECAM + at, &v, 1u << (op >> 4) % 3, op & 0x40);
		map_bar(f);
		break;
	case 10:
		full = op & 0x10;
		run_context();
		if (op & 0x20) {
			f->dev->cls->pause(f->dev);
			resume(f);
		}
		break;
	default:
		add_chain(f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { .in = {data, MIN(size, 4096)} };
	struct device_backend backend = { 0 };
	g_autoptr(GVariant) options = NULL;

	full = false;

	f.core.vm_fd = -1;
	f.core.mem = mem_new(-1);
	f.core.ports = bus_new("port");
	f.core.mmio = bus_new("mmio");
	f.core.context = g_main_context_default();
	f.core.input = input_new();
	f.core.display = display_new();
	display_add_viewer(f.core.display, &viewer, f.core.display);
	f.core.request = request;
	f.img = (struct image){ .size = DISK, .discard = true };
	f.net = (struct netdev){ .backend = &net_backend, .link_up = true, .offloads = ~0ull };
	f.disk = disk_new("drive", &f.img, NULL, NULL);
	if (!strcmp(FUZZ_DEVICE, "virtio-blk"))
		backend.disk = f.disk;
	else if (!strcmp(FUZZ_DEVICE, "virtio-net"))
		backend.netdev = &f.net;
	else if (!strcmp(FUZZ_DEVICE, "virtio-console")) {
		f.port = (struct device_port){ &f.agent, "port", "id" };
		backend = (struct device_backend){ .chardev = &f.chr, .ports = &f.port, .n_ports = 1 };
	}
	if (!mem_add_ram(f.core.mem, 0, RAM, NULL))
		abort();
	f.core.pci = pci_bus_new(&f.core, &(struct pci_windows){BAR, 0x10000000, 1ull << 40, 1ull << 30, 0xc000, 0x1000}, NULL);
	pci_bus_set_ecam(f.core.pci, ECAM, 1, NULL);
	if (!strcmp(FUZZ_DEVICE, "virtio-vsock"))
		options = g_variant_ref_sink(g_variant_new_parsed("{'unix': <'socket'>}"));
	if (is_vga || !strcmp(FUZZ_DEVICE, "virtio-gpu"))
		options = g_variant_ref_sink(
			g_variant_new_parsed("{'max_outputs': <uint64 2>, 'max_hostmem': <uint64 65536>}"));
	f.dev = f.core.pci ? device_new(&f.core, FUZZ_DEVICE, "fuzz", options, &backend, NULL) : NULL;
	if (!f.dev)
		abort();
	for (unsigned i = 0; !strcmp(FUZZ_DEVICE, "virtio-scsi") && i < LUNS; i++) {
		f.lun_disk[i] = disk_new("lun", &f.img, NULL, NULL);
		add_lun(&f, i, false);
	}
	map_bar(&f);
	while (f.in.left)
		step(&f);
	run_context();
	f.dev->cls->reset(f.dev);
	map_bar(&f);
	if (read_bar(&f, VIRTIO_PCI_COMMON_STATUS, 1))
		abort();
	look(f.core.display);
	for (unsigned i = LUNS; i-- > 0;) {
		device_free(f.lun[i]);
		disk_free(f.lun_disk[i]);
	}
	device_free(f.dev);
	display_remove_viewer(f.core.display, f.core.display);
	display_free(f.core.display);
	close_peers();
	disk_free(f.disk);
	pci_bus_free(f.core.pci);
	bus_free(f.core.mmio);
	bus_free(f.core.ports);
	mem_free(f.core.mem);
	input_free(f.core.input);
	return 0;
}
