/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about domains, by file; their rows are in domain.c. */
#pragma once
#include "shell.h"

/* console.c: at this terminal until it ends. */
bool run_console(struct shell *sh, GVariant *dom, const char *device, unsigned flags);
bool cmd_console(struct shell *sh, const struct args *a);

/* domain-power.c */
bool cmd_define(struct shell *sh, const struct args *a);
bool cmd_create(struct shell *sh, const struct args *a);
bool cmd_start(struct shell *sh, const struct args *a);
bool cmd_destroy(struct shell *sh, const struct args *a);
bool cmd_suspend(struct shell *sh, const struct args *a);
bool cmd_resume(struct shell *sh, const struct args *a);
bool cmd_reset(struct shell *sh, const struct args *a);
bool cmd_shutdown(struct shell *sh, const struct args *a);
bool cmd_reboot(struct shell *sh, const struct args *a);
bool cmd_autostart(struct shell *sh, const struct args *a);
bool cmd_domrename(struct shell *sh, const struct args *a);
bool cmd_undefine(struct shell *sh, const struct args *a);

bool cmd_dom_fd_associate(struct shell *sh, const struct args *a);
bool cmd_qemu_attach(struct shell *sh, const struct args *a);
/* Descriptors of --pass-fds by their numbers, "3,4"; false with the error said. *ret NULL: there are none. */
bool take_fds(struct shell *sh, const struct args *a, GUnixFDList **ret);

/* domain-save.c */
bool cmd_save_image_dumpxml(struct shell *sh, const struct args *a);
bool cmd_save_image_define(struct shell *sh, const struct args *a);
bool cmd_save_image_edit(struct shell *sh, const struct args *a);
bool cmd_managedsave_dumpxml(struct shell *sh, const struct args *a);
bool cmd_managedsave_define(struct shell *sh, const struct args *a);
bool cmd_managedsave_edit(struct shell *sh, const struct args *a);
bool cmd_save(struct shell *sh, const struct args *a);
bool cmd_restore(struct shell *sh, const struct args *a);
bool cmd_managedsave(struct shell *sh, const struct args *a);
bool cmd_managedsave_remove(struct shell *sh, const struct args *a);
bool cmd_dump(struct shell *sh, const struct args *a);

/* domain-text.c */
bool cmd_domid(struct shell *sh, const struct args *a);
bool cmd_domname(struct shell *sh, const struct args *a);
bool cmd_domuuid(struct shell *sh, const struct args *a);
bool cmd_dumpxml(struct shell *sh, const struct args *a);
bool cmd_domxml_from_native(struct shell *sh, const struct args *a);
bool cmd_domxml_to_native(struct shell *sh, const struct args *a);
bool cmd_desc(struct shell *sh, const struct args *a);
bool cmd_metadata(struct shell *sh, const struct args *a);
bool cmd_edit(struct shell *sh, const struct args *a);

/* domain-device.c */
bool cmd_attach_device(struct shell *sh, const struct args *a);
bool cmd_detach_device(struct shell *sh, const struct args *a);
bool cmd_update_device(struct shell *sh, const struct args *a);
bool cmd_detach_device_alias(struct shell *sh, const struct args *a);
bool cmd_attach_disk(struct shell *sh, const struct args *a);
bool cmd_attach_interface(struct shell *sh, const struct args *a);
bool cmd_detach_disk(struct shell *sh, const struct args *a);
bool cmd_detach_interface(struct shell *sh, const struct args *a);
bool cmd_domif_setlink(struct shell *sh, const struct args *a);
bool cmd_change_media(struct shell *sh, const struct args *a);

/* domain-cpu.c */
bool cmd_cpu_stats(struct shell *sh, const struct args *a);
bool cmd_setvcpu(struct shell *sh, const struct args *a);
bool cmd_guestvcpus(struct shell *sh, const struct args *a);
bool cmd_vcpucount(struct shell *sh, const struct args *a);
bool cmd_vcpuinfo(struct shell *sh, const struct args *a);
bool cmd_vcpupin(struct shell *sh, const struct args *a);
bool cmd_emulatorpin(struct shell *sh, const struct args *a);
bool cmd_setvcpus(struct shell *sh, const struct args *a);
bool cmd_setmem(struct shell *sh, const struct args *a);
bool cmd_setmaxmem(struct shell *sh, const struct args *a);

/* domain-guest.c */
bool cmd_send_key(struct shell *sh, const struct args *a);
bool cmd_inject_nmi(struct shell *sh, const struct args *a);
bool cmd_screenshot(struct shell *sh, const struct args *a);
bool cmd_domdisplay(struct shell *sh, const struct args *a);
bool cmd_vncdisplay(struct shell *sh, const struct args *a);
bool cmd_ttyconsole(struct shell *sh, const struct args *a);
bool cmd_qemu_monitor_command(struct shell *sh, const struct args *a);
bool cmd_qemu_agent_command(struct shell *sh, const struct args *a);
bool cmd_domfsfreeze(struct shell *sh, const struct args *a);
bool cmd_domfsthaw(struct shell *sh, const struct args *a);
bool cmd_domfstrim(struct shell *sh, const struct args *a);
bool cmd_domfsinfo(struct shell *sh, const struct args *a);
bool cmd_domhostname(struct shell *sh, const struct args *a);
bool cmd_set_user_password(struct shell *sh, const struct args *a);
bool cmd_dompmsuspend(struct shell *sh, const struct args *a);
bool cmd_dompmwakeup(struct shell *sh, const struct args *a);
bool cmd_domjobabort(struct shell *sh, const struct args *a);
bool cmd_blockresize(struct shell *sh, const struct args *a);

/* domain-block-job.c */
bool cmd_blockcommit(struct shell *sh, const struct args *a);
bool cmd_blockcopy(struct shell *sh, const struct args *a);
bool cmd_blockpull(struct shell *sh, const struct args *a);
bool cmd_blockjob(struct shell *sh, const struct args *a);
bool cmd_domblkthreshold(struct shell *sh, const struct args *a);

/* domain-iothread.c */
bool cmd_iothreadinfo(struct shell *sh, const struct args *a);
bool cmd_iothreadadd(struct shell *sh, const struct args *a);
bool cmd_iothreaddel(struct shell *sh, const struct args *a);
bool cmd_iothreadpin(struct shell *sh, const struct args *a);
bool cmd_iothreadset(struct shell *sh, const struct args *a);

/* domain-job-info.c */
bool cmd_domjobinfo(struct shell *sh, const struct args *a);

/* domain-agent.c */
bool cmd_guestinfo(struct shell *sh, const struct args *a);
bool cmd_guest_agent_timeout(struct shell *sh, const struct args *a);
bool cmd_get_user_sshkeys(struct shell *sh, const struct args *a);
bool cmd_set_user_sshkeys(struct shell *sh, const struct args *a);
bool cmd_send_process_signal(struct shell *sh, const struct args *a);
bool cmd_set_lifecycle_action(struct shell *sh, const struct args *a);
bool cmd_domlaunchsecinfo(struct shell *sh, const struct args *a);
bool cmd_domsetlaunchsecstate(struct shell *sh, const struct args *a);
bool cmd_domdirtyrate_calc(struct shell *sh, const struct args *a);

/* domain-memory.c */
bool cmd_update_memory_device(struct shell *sh, const struct args *a);

/* domain-migrate.c */
bool cmd_migrate(struct shell *sh, const struct args *a);
bool cmd_migrate_setmaxdowntime(struct shell *sh, const struct args *a);
bool cmd_migrate_getmaxdowntime(struct shell *sh, const struct args *a);
bool cmd_migrate_compcache(struct shell *sh, const struct args *a);
bool cmd_migrate_setspeed(struct shell *sh, const struct args *a);
bool cmd_migrate_getspeed(struct shell *sh, const struct args *a);
bool cmd_migrate_postcopy(struct shell *sh, const struct args *a);

/* domain-tune.c */
bool cmd_numatune(struct shell *sh, const struct args *a);
bool cmd_domiftune(struct shell *sh, const struct args *a);
bool cmd_perf(struct shell *sh, const struct args *a);
bool cmd_memtune(struct shell *sh, const struct args *a);
bool cmd_blkiotune(struct shell *sh, const struct args *a);
bool cmd_blkdeviotune(struct shell *sh, const struct args *a);
bool cmd_schedinfo(struct shell *sh, const struct args *a);
/* "average,peak,burst,floor" of a network interface, each of which may be missing: 0. false with the error said. */
enum { RATE_AVERAGE, RATE_PEAK, RATE_BURST, RATE_FLOOR, N_RATES };
extern const char *const rate_names[N_RATES];
bool take_rates(struct shell *sh, const char *text, guint64 rates[N_RATES]);
/* Whether "inbound" or "outbound" may be so; needs_average: without peak and burst as well. */
bool check_rates(struct shell *sh, const char *direction, const guint64 rates[N_RATES], bool needs_average);

/* keys.c: -1: none is called so */
int key_named(const char *name);
const char *key_name(unsigned i); /* NULL: there are not so many */
