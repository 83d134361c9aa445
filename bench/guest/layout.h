/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, selectors and page table bits that the guest's C and assembly share. */
#pragma once

/* SYSRET wants user data and then user code behind one selector (SDM vol. 2, SYSRET). */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18
#define SEL_USER_BASE 0x1b
#define SEL_USER_DATA 0x23
#define SEL_USER_CODE 0x2b
#define SEL_TSS 0x30 /* 16 bytes for each processor */

#define PTE_KERNEL 0x03 /* present, writable */
#define PTE_USER 0x07
#define PTE_LARGE 0x83

#define CPUS 2
#define AP_START 0x8000 /* where a second processor starts, in real mode */

/* struct cpu (main.c) */
#define CPU_SAVED_RSP 8192
#define CPU_USER_STACK 8200

/* A heap for each processor's ring 3: small pages, their frames in no order; the arena first, the stack under one page that is
   not there. */
#define HEAP 0x40000000
#define HEAP_SIZE 0x800000
#define HEAP_FRAMES 0x2000000
#define HEAP_GUARD (HEAP + HEAP_SIZE - 0x1000)

#define MMIO_NOBODY 0xd0000000 /* an address and a port where neither machine has a device */
#define PORT_NOBODY 0x300
#define PORT_CMOS_INDEX 0x70 /* and one where both have */
#define APIC_BASE 0xfee00000
#define APIC_ID 0xfee00020
