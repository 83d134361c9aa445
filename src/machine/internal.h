/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's own objects, shared by machine.c, micro.c, vcpu.c, cpuid.c, boot.c and acpi.c. */
#pragma once
#include <pthread.h>

#include "core.h"
#include "cpu.h"
#include "device.h"
#include "machine.h"
#include "pci.h"

#define VCPUS_MAX    64
#define EXIT_REASONS 64

/* Memory map of the board (micro.c). */
#define LOW_RAM_END	0xc0000000ull
#define PCI_MMIO_BASE	0xc0000000ull
#define PCI_MMIO_SIZE	0x20000000ull
#define ECAM_BASE	0xe0000000ull
#define ECAM_SIZE	0x100000ull /* bus 0 */
#define PCI_IO_BASE	0xc000
#define PCI_IO_SIZE	0x1000
#define IOAPIC_BASE	0xfec00000ull
/* Four pages that KVM needs of the guest's addresses on some processors, where no firmware is. */
#define KVM_IDENTITY_BASE 0xfeffc000ull
#define KVM_TSS_BASE	  0xfeffd000ul
#define KVM_KEPT_SIZE	  0x4000u
#define LAPIC_BASE	0xfee00000ull
#define HIGH_RAM_BASE	0x100000000ull
#define PCI_MMIO64_SIZE 0x400000000ull

/* Legacy ports and interrupts that ACPI names. */
#define PM_BASE	  0x600
#define PM_GSI	  9
#define COM1_BASE 0x3f8
#define COM1_GSI  4
#define COM2_BASE 0x2f8
#define COM2_GSI  3
#define RTC_GSI	  8

/*
 * The pc board's chipset, where SeaBIOS, OVMF and the ACPI tables have it. The power management block is ICH9's, 128 ports from
 * PM_BASE, its interrupt PM_GSI: PM1a event + 0, control + 4, timer + 8, GPE0 + 0x20 (8 bytes status, 8 enable), SMI enable +
 * 0x30. ACPI is switched on by PC_ACPI_ENABLE to port PC_SMI_COMMAND; no event interrupts before. Sleep types are QEMU's, which
 * firmware is told. GSIs 0 and 8 are the 8254's and the clock's, or the HPET's; ISA's IRQ 0 is pin 2 of the I/O APIC.
 * PCI lines A to D (pci_intx_line()) are GSIs 16 to 19, active high for KVM, level; link devices PIRQA to D are bytes 0x60 to
 * 0x63 of 00:1f.0's configuration, E to H at 0x68 stand in the tables of others and move nothing.
 */
#define PC_PM_PORTS	  0x80
#define PC_PM_CONTROL	  0x04
#define PC_PM_TIMER	  0x08
#define PC_PM_GPE0	  0x20
#define PC_PM_GPE0_SIZE	  16
#define PC_SMI_COMMAND	  0xb2
#define PC_ACPI_ENABLE	  2
#define PC_ACPI_DISABLE	  3
#define PC_SLP_TYP_S5	  0
#define PC_SLP_TYP_S3	  1
#define PC_SLP_TYP_S4	  2
#define PC_RESET_PORT	  0xcf9 /* the value PC_RESET_VALUE resets */
#define PC_RESET_VALUE	  6
#define PC_CPU_HOTPLUG_PORT 0xcd8
#define PC_PVPANIC_PORT	  0x505
#define PC_HPET_BASE	  0xfed00000ull
#define PC_HPET_ID	  0x8086a201u
#define PC_RCBA_BASE	  0xfed1c000ull
#define PC_LPC_SLOT	  31

/* All of a vCPU that KVM holds (vcpu-state.c). */
struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	uint32_t n_msrs;
	struct kvm_msr_entry *msrs; /* owned; `reserved` set: KVM does not transfer it */
};

/* The interrupt chips, the timer and the clock of a VM. */
struct chips_state {
	struct kvm_irqchip irqchip[3];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
};

struct vcpu {
	struct machine *m;
	unsigned index;
	bool absent; /* it may come (cpu-plug.c); main thread */
	char *id;    /* that a user gave it, who may take it out; NULL: none */
	int fd;
	struct kvm_run *run;
	size_t run_size;
	GThread *thread;
	pthread_t pthread;	      /* set by the thread itself; a kick before that is seen in vcpu_rest() */
	pid_t tid;		      /* likewise; under m->lock */
	bool resting;		      /* under m->lock: stands still for a pause */
	bool leaving;		      /* likewise: its thread is to end */
	uint64_t exits[EXIT_REASONS]; /* by KVM_EXIT_*, own thread */
	struct vcpu_state power_on;
};

struct machine {
	struct machine_core core; /* first */
	struct notices *notices; /* notices.c */
	enum machine_kind kind;
	struct pc_firmware *firmware; /* pc, as is all to the blank line (pc-firmware.h) */
	struct device *fw_cfg;
	size_t acpi_tables_room, acpi_loader_room; /* bytes of the files */

	char *name, *kernel, *initrd, *append;
	struct boot_held {
		bool open;
		int fd;
	} kernel_file, initrd_file; /* boot.c: a reset reads them again, by then without names */
	int kvm_fd;
	unsigned cpus; /* that are possible: some may be absent */
	struct cpu_topology topology;
	struct cpu_choice cpu;
	char *cpu_name; /* the first word of --cpu */
	struct device *cpu_hotplug; /* its registers; NULL: none comes or goes */
	uint64_t ejected; /* a bit each, atomic: the guest let go of them, and their threads are still there */
	GSource *ejector; /* on its way to the main thread, or NULL; under lock */
	bool cpu_chosen; /* other than all that there is */
	uint64_t memory, mmio64_base;
	struct vcpu vcpu[VCPUS_MAX];
	unsigned n_named;  /* devices without an id so far */
	void (*unplugged)(void *opaque, const char *id, int cpu);
	void *unplugged_opaque;
	unsigned changing; /* machine_busy(); main thread */
	bool clock_held;   /* since the pause at clock_ns; main thread */
	uint64_t clock_ns;
	GPtrArray *devices; /* struct device *, in board order */
	bool users; /* who is added is a user's, not the board's */
	const struct machine_config *config; /* while it is being built; NULL afterwards */
	GPtrArray *made; /* of config's devices: those that came before their turn; NULL afterwards */
	struct boot_ahead *ahead; /* boot-ahead.c, or NULL */
	struct device *pm, *clock;
	bool second_serial; /* COM2 is there */
	struct chips_state power_on;
	struct kvm_msr_list *msr_list;

	GMutex lock; /* all below */
	GPtrArray *leavers; /* plug.c */
	GCond changed;
	bool pause_wanted, stopping, running;
	unsigned resting;
	bool ending;
	enum machine_end end;
	char *end_text;
	GSource *teller; /* on its way to tell the owner, or NULL */
	void (*ended)(void *opaque, enum machine_end end, const char *text);
	void *ended_opaque;
};

/* saved-order.c: of struct device *, as they are in a saved state. g_ptr_array_unref(). */
GPtrArray *saved_order(const struct machine *m);
/* machine.c: records why it ends (the first reason counts), stops the vCPUs, tells the owner in the main context. Any thread. */
void machine_end(struct machine *m, enum machine_end end, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* notices.c: from devices' threads to the owner's function in the main context. */
struct notices *notices_new(const struct machine *m, const struct machine_config *config);
void notices_free(struct notices *n); /* what was not told yet is not any more; NULL is fine */
void notices_add(struct notices *n, enum machine_notice what, const char *name, uint32_t value);

/* vcpu.c */
bool vcpu_create(struct machine *m, unsigned index, GError **error);
void vcpu_destroy(struct vcpu *v);
void vcpu_start(struct vcpu *v);
void vcpu_stop(struct vcpu *v); /* its thread ends; waits for it */
void vcpu_kick(struct vcpu *v);

/* vcpu-state.c */
extern const struct state_desc vcpu_state_desc, chips_state_desc;
bool vcpu_msr_list(int kvm_fd, struct kvm_msr_list **ret_list, GError **error);
bool vcpu_state_get(struct vcpu *v, struct vcpu_state *s, GError **error); /* fills or reuses s->msrs */
/* with_time: the time stamp counter, too (loading), or let it run on (reset). */
bool vcpu_state_set(struct vcpu *v, const struct vcpu_state *s, bool with_time, GError **error);
void vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t data);
bool chips_state_get(struct machine *m, struct chips_state *s, bool with_time, GError **error);
bool chips_state_set(struct machine *m, struct chips_state *s, bool with_time, GError **error);

/* cpu-plug.c: vCPUs that are absent, come and go. Main thread. */
extern const struct state_desc cpus_state_desc;
struct cpus_state *cpus_state_get(const struct machine *m);
bool cpus_state_set(struct machine *m, const struct cpus_state *s, GError **error);
struct cpus_state *cpus_state_new(void);
void cpus_state_free(struct cpus_state *s);
bool cpus_add_hotplug(struct machine *m, GError **error); /* the registers, where there are vCPUs that may come */
unsigned cpus_present(const struct machine *m);
bool cpus_is_type(const char *cls); /* of --device: a processor */
bool cpus_plug(struct machine *m, const struct machine_device *d, bool hot, GError **error);
int cpus_find(const struct machine *m, const char *id); /* index; -1: none */
bool cpus_unplug(struct machine *m, unsigned index, GError **error);
bool cpus_park_absent(struct machine *m, GError **error); /* no interrupt nor start-up message reaches them */
void cpus_eject(void *machine, unsigned index);		   /* struct machine_core's */
void cpus_settle(struct machine *m);			   /* those that the guest let go of are gone when it returns */

/* cpuid.c */
struct kvm_cpuid2 *cpuid_supported(int kvm_fd, GError **error); /* what KVM offers, with room for more; g_free */
bool cpuid_set(struct vcpu *v, GError **error);

/* The boards, chip by chip. ram: guest memory is added; load: what the power-on state of memory is, before each start. */
bool micro_build(struct machine *m, const struct machine_config *config, GError **error);
bool pc_add_ram(struct machine *m, GError **error);
bool pc_build(struct machine *m, const struct machine_config *config, GError **error);
/* Bytes of the memory that is below PCI's; the rest is above 4 GiB. Space for configuration and BARs, as on QEMU's q35. */
uint64_t pc_low_ram(uint64_t memory);

/*
 * boot.c: loads kernel, initrd, command line; sets the boot vCPU's registers. The machine stands still. In two steps: the files
 * are read from boot_begin() on, for which there has to be memory alone; all else is there at boot_end().
 */
bool boot_load(struct machine *m, GError **error);
/* boot-ahead.c; start: once the guest runs, and not before, since a thread is in the way of the sandbox. */
void boot_ahead_start(struct boot_ahead *a);
void boot_ahead_free(struct boot_ahead *a);
void boot_forget_files(struct machine *m);
struct boot *boot_begin(struct machine *m);
bool boot_end(struct boot *b, GError **error);
void boot_free(struct boot *b);

/* acpi.c: tables at a fixed place in low memory; returns the RSDP's address. */
bool acpi_build(struct machine *m, uint64_t *ret_rsdp, GError **error);

/* plug.c */
const struct device_class *plug_find_class(const char *name); /* that a user may make; NULL: there is none */
struct device *plug_find(struct machine *m, const char *id);
void plug_left(void *machine, struct device *dev); /* struct machine_core's unplugged() */
void plug_leaver_free(void *leaver);

/* devices/acpi-pm.c */
void acpi_pm_power_button(struct device *dev);

/* devices/mc146818.c */
void mc146818_set_cpus(struct device *dev, unsigned cpus);

/* devices/ich9-lpc.c */
void ich9_lpc_power_button(struct device *dev);
void ich9_lpc_wake(struct device *dev);
uint16_t ich9_lpc_pm_base(const struct device *dev); /* where firmware has put the power block; PM_BASE before */
bool ich9_lpc_asleep(struct device *dev, bool *ret_woken); /* woken: something has asked for it to end */
