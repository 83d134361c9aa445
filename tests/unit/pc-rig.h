/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pc's machine without processors, for tests of its tables: memory, buses and fw_cfg, read as firmware reads it. */
#pragma once
#include "internal.h"

struct machine *pc_rig_new(uint64_t memory, unsigned cpus); /* what has to be RAM is: the first 2 MiB */
void pc_rig_free(struct machine *m);
void pc_rig_out(struct machine *m, uint16_t port, unsigned size, uint64_t v);
uint64_t pc_rig_in(struct machine *m, uint16_t port, unsigned size);
void pc_rig_item(struct machine *m, uint16_t key, void *data, unsigned len); /* by the data port */
/* By DMA, through the directory; NULL when there is no such file. */
GByteArray *pc_rig_file(struct machine *m, const char *name);
/* A DMA command at an address of our own; its status word. */
uint32_t pc_rig_dma(struct machine *m, uint32_t control, uint32_t len, uint64_t at);
