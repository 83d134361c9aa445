/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The domain itself. Machines: "q35" and "pc-q35-…" are kv-vmm's pc, "micro" is its micro. */
#include "domain-fields.h"

static const struct field pin_fields[] = {
	{ "@vcpu", FIELD_COUNT, "0 254", FIELD_MUST },
	{ "@cpuset", FIELD_CPUS, NULL, FIELD_MUST },
	{ NULL },
};

static const struct field vcpu_fields[] = {
	{ "@id", FIELD_COUNT, "0 254", FIELD_MUST },
	{ "@enabled", FIELD_WORD, "yes no", FIELD_MUST },
	{ "@hotpluggable", FIELD_WORD, "yes no" },
	{ "@order", FIELD_COUNT, "1 255" },
	{ NULL },
};

static const struct field blkio_device_fields[] = {
	{ "path", FIELD_PATH, NULL, FIELD_MUST },
	{ "weight", FIELD_COUNT, "0 1000" },
	{ "read_iops_sec", FIELD_COUNT },
	{ "write_iops_sec", FIELD_COUNT },
	{ "read_bytes_sec", FIELD_COUNT },
	{ "write_bytes_sec", FIELD_COUNT },
	{ NULL },
};

static const struct field bios_entry_fields[] = {
	{ "@name", FIELD_WORD, "vendor version date release", FIELD_MUST },
	{ NULL },
};

static const struct field system_entry_fields[] = {
	{ "@name", FIELD_WORD, "manufacturer product version serial uuid sku family", FIELD_MUST },
	{ NULL },
};

static const struct field board_entry_fields[] = {
	{ "@name", FIELD_WORD, "manufacturer product version serial asset location", FIELD_MUST },
	{ NULL },
};

static const struct field chassis_entry_fields[] = {
	{ "@name", FIELD_WORD, "manufacturer version serial asset sku", FIELD_MUST },
	{ NULL },
};

static const struct field fw_cfg_entry_fields[] = {
	{ "@name", FIELD_NAME, NULL, FIELD_MUST },
	{ "@file", FIELD_PATH },
	{ NULL },
};

static const struct field board_fields[] = {
	{ "entry", FIELD_TEXT, NULL, FIELD_MANY, board_entry_fields },
	{ NULL },
};

static const struct field sysinfo_fields[] = {
	{ "@type", FIELD_WORD, "smbios fwcfg", FIELD_MUST },
	{ "bios/entry", FIELD_TEXT, NULL, FIELD_MANY, bios_entry_fields },
	{ "system/entry", FIELD_TEXT, NULL, FIELD_MANY, system_entry_fields },
	{ "baseBoard", FIELD_NODE, NULL, FIELD_MANY, board_fields },
	{ "chassis/entry", FIELD_TEXT, NULL, FIELD_MANY, chassis_entry_fields },
	{ "oemStrings", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "entry", FIELD_TEXT, NULL, FIELD_MANY, fw_cfg_entry_fields },
	{ NULL },
};

static const struct field firmware_fields[] = {
	{ "@enabled", FIELD_WORD, "no !yes", FIELD_MUST },
	{ "@name", FIELD_WORD, "secure-boot enrolled-keys", FIELD_MUST },
	{ NULL },
};

static const struct field boot_fields[] = {
	{ "@dev", FIELD_WORD, "hd cdrom network !fd", FIELD_MUST },
	{ NULL },
};

static const struct field seclabel_fields[] = {
	{ "@type", FIELD_WORD, "none !dynamic !static", FIELD_MUST },
	{ "@model", FIELD_TEXT },
	{ "@relabel", FIELD_WORD, "yes no" },
	{ "label", FIELD_TEXT, NULL, FIELD_LIVE },
	{ "baselabel", FIELD_TEXT, NULL, FIELD_NO },
	{ "imagelabel", FIELD_TEXT, NULL, FIELD_LIVE },
	{ NULL },
};

const struct field domain_fields[] = {
	{ "@type", FIELD_WORD, "kvm qemu !test !xen !lxc !uml !openvz !vmware !hyperv !vbox !phyp !parallels !bhyve "
	  "!vz !hvf", FIELD_MUST },
	{ "@id", FIELD_INT, NULL, FIELD_LIVE },
	{ "name", FIELD_NAME, NULL, FIELD_MUST },
	{ "uuid", FIELD_UUID },
	{ "hwuuid", FIELD_UUID, NULL, FIELD_NO },
	{ "genid", FIELD_UUID, NULL, FIELD_NO },
	{ "title", FIELD_TEXT },
	{ "description", FIELD_TEXT },
	{ "metadata", FIELD_NODE, NULL, FIELD_VERBATIM },
	{ "maxMemory", FIELD_KIB, NULL, FIELD_NO },
	{ "maxMemory/@slots", FIELD_COUNT },
	{ "maxMemory/@unit", FIELD_TEXT },
	{ "memory", FIELD_KIB },
	{ "memory/@dumpCore", FIELD_WORD, "on !off" },
	{ "memory/@unit", FIELD_TEXT },
	{ "currentMemory", FIELD_KIB },
	{ "currentMemory/@unit", FIELD_TEXT },
	{ "blkiotune/weight", FIELD_COUNT, "10 1000" },
	{ "blkiotune/device", FIELD_NODE, NULL, FIELD_MANY, blkio_device_fields },
	{ "memtune/hard_limit", FIELD_KIB },
	{ "memtune/hard_limit/@unit", FIELD_TEXT },
	{ "memtune/soft_limit", FIELD_KIB },
	{ "memtune/soft_limit/@unit", FIELD_TEXT },
	{ "memtune/min_guarantee", FIELD_KIB, NULL, FIELD_NO },
	{ "memtune/min_guarantee/@unit", FIELD_TEXT },
	{ "memtune/swap_hard_limit", FIELD_KIB },
	{ "memtune/swap_hard_limit/@unit", FIELD_TEXT },
	{ "memoryBacking/hugepages", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "memoryBacking/nosharepages", FIELD_NODE, NULL, FIELD_NO },
	{ "memoryBacking/locked", FIELD_NODE, NULL, FIELD_NO },
	{ "memoryBacking/source/@type", FIELD_WORD, "anonymous !file !memfd" },
	{ "memoryBacking/access/@mode", FIELD_WORD, "private !shared" },
	{ "memoryBacking/allocation/@mode", FIELD_WORD, "ondemand !immediate" },
	{ "memoryBacking/allocation/@threads", FIELD_COUNT, NULL, FIELD_NO },
	{ "memoryBacking/discard", FIELD_NODE, NULL, FIELD_NO },
	{ "vcpu", FIELD_COUNT, "1 255" },
	{ "vcpu/@placement", FIELD_WORD, "static !auto" },
	{ "vcpu/@cpuset", FIELD_CPUS },
	{ "vcpu/@current", FIELD_COUNT, "1 255" },
	{ "vcpus/vcpu", FIELD_NODE, NULL, FIELD_MANY, vcpu_fields },
	{ "iothreads", FIELD_COUNT, "0 0" },
	{ "iothreadids", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "defaultiothread", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "cputune/shares", FIELD_COUNT, "2 262144" },
	{ "cputune/period", FIELD_COUNT, "1000 1000000" },
	{ "cputune/quota", FIELD_INT },
	{ "cputune/global_period", FIELD_COUNT, "1000 1000000" },
	{ "cputune/global_quota", FIELD_INT },
	{ "cputune/emulator_period", FIELD_COUNT, "1000 1000000" },
	{ "cputune/emulator_quota", FIELD_INT },
	{ "cputune/iothread_period", FIELD_COUNT, NULL, FIELD_NO },
	{ "cputune/iothread_quota", FIELD_INT, NULL, FIELD_NO },
	{ "cputune/vcpupin", FIELD_NODE, NULL, FIELD_MANY, pin_fields },
	{ "cputune/emulatorpin/@cpuset", FIELD_CPUS, NULL, FIELD_MUST },
	{ "cputune/iothreadpin", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "cputune/vcpusched", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "cputune/emulatorsched", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "cputune/iothreadsched", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "cputune/cachetune", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "cputune/memorytune", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "numatune/memory/@mode", FIELD_WORD, "strict preferred interleave restrictive" },
	{ "numatune/memory/@nodeset", FIELD_CPUS },
	{ "numatune/memory/@placement", FIELD_WORD, "static !auto" },
	{ "numatune/memnode", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "resource/partition", FIELD_PATH },
	{ "resource/fibrechannel", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "sysinfo", FIELD_NODE, NULL, FIELD_MANY, sysinfo_fields },
	{ "bootloader", FIELD_TEXT, NULL, FIELD_NO },
	{ "bootloader_args", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/@firmware", FIELD_WORD, "bios efi" },
	{ "os/type", FIELD_WORD, "hvm !xen !linux !exe !uml !xenpvh", FIELD_MUST },
	{ "os/type/@arch", FIELD_WORD, "x86_64 !i686 !aarch64 !alpha !armv6l !armv7l !armv7b !cris !ia64 !itanium "
	  "!lm32 !loongarch64 !m68k !microblaze !mips !mipsel !mips64 !openrisc !parisc !ppc !ppc64 !ppc64le !riscv32 "
	  "!riscv64 !s390 !s390x !sh4 !sparc !sparc64 !unicore32 !xtensa" },
	{ "os/type/@machine", FIELD_NAME },
	{ "os/init", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/initarg", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/initenv", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "os/initdir", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/inituser", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/initgroup", FIELD_TEXT, NULL, FIELD_NO },
	{ "os/firmware/feature", FIELD_NODE, NULL, FIELD_MANY, firmware_fields },
	{ "os/loader", FIELD_PATH },
	{ "os/loader/@readonly", FIELD_WORD, "yes no" },
	{ "os/loader/@secure", FIELD_WORD, "no !yes" },
	{ "os/loader/@stateless", FIELD_WORD, "no yes" },
	{ "os/loader/@type", FIELD_WORD, "rom pflash" },
	{ "os/loader/@format", FIELD_WORD, "raw !qcow2" },
	{ "os/nvram", FIELD_PATH },
	{ "os/nvram/@type", FIELD_WORD, "file !block !network" },
	{ "os/nvram/@template", FIELD_PATH },
	{ "os/nvram/@format", FIELD_WORD, "raw !qcow2" },
	{ "os/nvram/source", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "os/kernel", FIELD_PATH },
	{ "os/initrd", FIELD_PATH },
	{ "os/cmdline", FIELD_TEXT },
	{ "os/dtb", FIELD_PATH, NULL, FIELD_NO },
	{ "os/acpi", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "os/boot", FIELD_NODE, NULL, FIELD_MANY, boot_fields },
	{ "os/bootmenu/@enable", FIELD_WORD, "yes no" },
	{ "os/bootmenu/@timeout", FIELD_COUNT, "0 65535" },
	{ "os/bios/@useserial", FIELD_WORD, "no !yes" },
	{ "os/bios/@rebootTimeout", FIELD_INT, NULL, FIELD_NO },
	{ "os/smbios/@mode", FIELD_WORD, "emulate sysinfo !host" },
	{ "idmap", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "features", FIELD_NODE, NULL, 0, platform_fields },
	{ "cpu", FIELD_NODE, NULL, 0, cpu_fields },
	{ "clock", FIELD_NODE, NULL, 0, clock_fields },
	{ "on_poweroff", FIELD_WORD, "destroy restart preserve rename-restart" },
	{ "on_reboot", FIELD_WORD, "destroy restart preserve rename-restart" },
	{ "on_crash", FIELD_WORD, "destroy restart preserve rename-restart coredump-destroy coredump-restart" },
	{ "on_lockfailure", FIELD_WORD, "!poweroff !restart !pause ignore" },
	{ "pm/suspend-to-mem/@enabled", FIELD_WORD, "yes no" },
	{ "pm/suspend-to-disk/@enabled", FIELD_WORD, "yes no" },
	{ "perf", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	/* devices */
	{ "devices/emulator", FIELD_PATH },
	{ "devices/disk", FIELD_NODE, NULL, FIELD_MANY, disk_fields },
	{ "devices/controller", FIELD_NODE, NULL, FIELD_MANY, controller_fields },
	{ "devices/lease", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/filesystem", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/interface", FIELD_NODE, NULL, FIELD_MANY, interface_fields },
	{ "devices/smartcard", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/serial", FIELD_NODE, NULL, FIELD_MANY, serial_fields },
	{ "devices/parallel", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/console", FIELD_NODE, NULL, FIELD_MANY, console_fields },
	{ "devices/channel", FIELD_NODE, NULL, FIELD_MANY, channel_fields },
	{ "devices/input", FIELD_NODE, NULL, FIELD_MANY, input_fields },
	{ "devices/tpm", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/graphics", FIELD_NODE, NULL, FIELD_MANY, graphics_fields },
	{ "devices/sound", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/audio", FIELD_NODE, NULL, FIELD_MANY, audio_fields },
	{ "devices/video", FIELD_NODE, NULL, FIELD_MANY, video_fields },
	{ "devices/hostdev", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/redirdev", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/redirfilter", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "devices/hub", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/watchdog", FIELD_NODE, NULL, 0, watchdog_fields },
	{ "devices/memballoon", FIELD_NODE, NULL, 0, memballoon_fields },
	{ "devices/nvram", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "devices/rng", FIELD_NODE, NULL, FIELD_MANY, rng_fields },
	{ "devices/panic", FIELD_NODE, NULL, FIELD_MANY, panic_fields },
	{ "devices/shmem", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/memory", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "devices/iommu", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "devices/vsock", FIELD_NODE, NULL, 0, vsock_fields },
	{ "devices/crypto", FIELD_NODE, NULL, FIELD_NO | FIELD_MANY | FIELD_VERBATIM },
	{ "seclabel", FIELD_NODE, NULL, FIELD_MANY, seclabel_fields },
	{ "keywrap", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "launchSecurity", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "qemu:commandline", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "qemu:capabilities", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "qemu:deprecation", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ "qemu:override", FIELD_NODE, NULL, FIELD_NO | FIELD_VERBATIM },
	{ NULL },
};
