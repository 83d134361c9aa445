/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two boot protocols share; boot.c implements it and calls them. */
#pragma once

#include <asm/bootparam.h>

#include "internal.h"

/* Low memory, below the first megabyte, that the loaded kernel finds or needs. */
enum {
	BOOT_GDT = 0x500,
	BOOT_START_INFO = 0x6000, /* PVH */
	BOOT_PARAMS = 0x7000,	  /* Linux */
	BOOT_STACK_END = 0x9000,
	BOOT_PAGE_TABLES = 0x9000, /* six pages */
	BOOT_COMMAND_LINE = 0x20000,
	BOOT_COMMAND_LINE_MAX = 0x10000,
	BOOT_LOW_RAM_END = 0x9fc00,
	BOOT_RESET_VECTOR = 0xffff0,
	BOOT_KERNEL_MIN = 0x100000,
};

struct boot_file {
	const char *path;
	int fd; /* -1: none */
	uint64_t size;
};

struct boot_range {
	uint64_t start, size;
	uint32_t type; /* E820 numbers: 1 RAM, 2 reserved */
};

enum { BOOT_RANGES = 8 };

struct boot {
	struct machine *m;
	struct boot_file kernel, initrd;
	const char *command_line;
	uint64_t rsdp;
	struct boot_range range[BOOT_RANGES]; /* the memory map */
	unsigned n_ranges;
	/* Set by the protocol */
	uint64_t kernel_end;	   /* first address above everything the kernel wants */
	uint64_t initrd_at;	   /* 0: none */
	uint64_t initrd_below;	   /* limit for its last byte + 1 */
	uint64_t command_line_max; /* bytes without the zero at the end */
	uint64_t entry;
	struct setup_header header; /* Linux */
	bool elf;
	/* While the files are read by a thread */
	GThread *thread;
	GError *error; /* how that ended */
};

/* Reads [offset, offset + len) of the file; false with an error also when the file is shorter. */
bool boot_file_read(const struct boot_file *f, uint64_t offset, void *data, uint64_t len,
		    GError **error);
/* The same, straight to guest memory. */
bool boot_file_load(struct boot *b, const struct boot_file *f, uint64_t offset, uint64_t gpa,
		    uint64_t len, GError **error);
/* Initrd and command line, after kernel_end and the limits are known. */
bool boot_load_rest(struct boot *b, GError **error);
/* Copies a structure to low memory. */
bool boot_put(struct boot *b, uint64_t gpa, const void *data, uint64_t len, GError **error);

/* boot-ahead.c: gets pages for the memory that the kernel will take first. */
struct boot_ahead *boot_ahead_new(const struct boot *b);

/* boot-linux.c: a bzImage, entered in 64-bit mode (Documentation/x86/boot.rst). */
bool boot_linux_read(struct boot *b, GError **error);
bool boot_linux_enter(struct boot *b, GError **error);
/* boot-pvh.c: an ELF file with a PVH note, entered in 32-bit mode. */
bool boot_pvh_read(struct boot *b, GError **error);
bool boot_pvh_enter(struct boot *b, GError **error);
