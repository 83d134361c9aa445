#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# SeaBIOS finds a PC's drives: a SATA disk, a CD-ROM drive, an NVMe disk; and starts what is on each of them.
. "$(dirname "$0")/lib.sh"
need python3 xorriso
bios=/usr/share/seabios/bios-256k.bin
[ -r "$bios" ] || skip "no $bios (tools/install-deps test)"
# A boot sector that says a word on the serial port and has the machine reset.
python3 - "$work" <<'P' || fail "no boot sectors"
import sys
for name, word in ('sata', b'@sata disk started\n'), ('nvme', b'@nvme disk started\n'), ('cd', b'@disc started\n'):
    code = bytes.fromhex('fa 0e 1f e8 00 00 5e 81 c6 14 00 ba f8 03 ac 84 c0 74 03 ee eb f8 b0 0e ba f9 0c ee f4')
    # cli; push cs; pop ds; call $+3; pop si; add si, text; mov dx, 3f8h; lodsb; test al, al; jz; out dx, al; jmp; reset by 0cf9h; hlt
    text = len(code) - code.index(b'\x5e')
    code = code.replace(bytes.fromhex('81 c6 14 00'), bytes.fromhex('81 c6') + text.to_bytes(2, 'little'))
    sector = code + word + b'\0'
    sector += b'\0' * (510 - len(sector)) + b'\x55\xaa'
    with open(f'{sys.argv[1]}/{name}', 'wb') as file:
        file.write(sector)
        file.truncate(4 << 20 if name != 'cd' else 2048)
P
mkdir "$work/tree"
cp "$work/cd" "$work/tree/boot"
xorriso -as mkisofs -quiet -b boot -no-emul-boot -boot-load-size 4 -o "$work/iso" "$work/tree" >/dev/null 2>&1 || fail "no disc"

start() { # WORD --disk...: the log has SeaBIOS's, too
	word=$1
	shift
	KV_DEBUG=1 timeout -k 5 230 "$KV_VMM" --machine pc --firmware "$bios" --accel soft --memory 256M --no-reboot "$@" \
		</dev/null >"$work/log" 2>&1
	expect "$word"
}

start "@sata disk started" --disk "file=$work/sata,bus=sata" --cdrom "$work/iso" --disk "file=$work/nvme,bus=nvme"
for text in 'AHCI/0: registering: "AHCI/0: KVASIR DISK ATA-8 Hard-Disk (4 MiBytes)"' 'AHCI/1: registering: "DVD/CD \[AHCI/1: KVASIR CD-ROM'; do
	grep -q "$text" "$work/log" || fail "SeaBIOS does not say $text"
done
start "@nvme disk started" --disk "file=$work/nvme,bus=nvme"
start "@disc started" --cdrom "$work/iso"
