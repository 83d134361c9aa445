#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux's own drivers of Intel's 82574L, of the 6300ESB's watchdog and of pvpanic: DHCP, TCP in both directions with MSI-X and
# with INTx, a watchdog that runs out, a panic.
. "$(dirname "$0")/lib.sh"
need_kernel
need python3
kernel=$(ls /boot/vmlinuz-*-amd64 2>/dev/null | grep -v -e -cloud- -e -rt- | sort -V | tail -n 1)
[ -n "$kernel" ] && [ -r "$kernel" ] || skip "no kernel with drivers in /boot (tools/install-deps test)"
mkdir "$work/www"
# Text, since busybox posts a string.
head -c 2200000 /dev/urandom | base64 -w 0 >"$work/www/file"
want=$(md5sum <"$work/www/file" | cut -d ' ' -f 1)
# What is PUT is compared with the file.
python3 - "$work/www" >"$work/port" <<'P' &
import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers['Content-Length']))
        same = data == open(sys.argv[1] + '/file', 'rb').read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'the same' if same else b'%d other bytes' % len(data))
handler = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
P
server=$!
until [ -s "$work/port" ]; do
	sleep 0.1
	kill -0 $server 2>/dev/null || fail "the web server did not start"
done
url=http://10.0.2.2:$(cat "$work/port")
mkdir "$work/run"
cat >"$work/run/script" <<S
set -e
ip link set eth0 up
until [ "\$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done
udhcpc -n -q -f -i eth0 -s /bin/true >/dev/null 2>&1
ip addr add 10.0.2.15/24 dev eth0
wget -q -O /tmp/file $url/file
echo "down: \$(md5sum </tmp/file)"
echo "up: \$(wget -q -O - --post-file=/tmp/file $url/)"
echo "vectors: \$(grep -c eth0 /proc/interrupts)"
S
"$tools/make-initrd" -k -m e1000e -m i6300esb -m pvpanic-pci -m pvpanic-mmio -c "$work/run" "$work/initrd" || fail "no initrd"

run() { # words of the kernel's command line; the rest is kv-vmm's
	words=$1
	shift
	timeout -k 5 230 "$KV_VMM" --accel soft --cpus 2 --memory 512M --kernel "$kernel" --initrd "$work/initrd" --no-reboot \
		--append "console=ttyS0 quiet $words" "$@" </dev/null >"$work/log" 2>&1
	status=$?
}

# Our own words may come in the middle of a line of the guest's.
told() {
	grep -qF "kv-vmm: $1" "$work/log" || fail "kv-vmm does not say '$1'"
}

for mode in msix intx; do
	[ $mode = msix ] && word= vectors=3 || word=pci=nomsi vectors=1
	run "$word kv.run=\"sh $work/run/script\"" --net user,model=e1000e,mac=52:54:00:12:34:56
	[ $status = 0 ] || fail "$mode: kv-vmm ended with $status"
	expect "down: $want  -"
	expect "up: the same"
	expect "vectors: $vectors"
	expect "@exit 0"
done

run 'kv.run="watchdog -T 2 -t 60 -F /dev/watchdog"' --device i6300esb
[ $status = 0 ] || fail "watchdog: kv-vmm ended with $status"
told "the guest's watchdog ran out: reset"

for device in pvpanic-pci pvpanic; do
	run 'panic=0 kv.run="echo c >/proc/sysrq-trigger"' --machine pc --device $device
	[ $status = 1 ] || fail "$device: kv-vmm ended with $status"
	told "the guest panicked"
done
