#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian's X server on the standard VGA and on virtio's GPU: the same picture on both, over two screens, in another size.
usage: x11.py KV-VMM SOURCE-ROOT GUEST   GUEST: a folder of tools/make-guest -p, with the packages of `check`.
Exit status 77: something needed is not installed."""
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gpu  # noqa: E402
from cases import Failed, Skipped, check  # noqa: E402

ROOT = (70, 130, 180)  # steelblue
# The disk is the X server's world; the initrd has the kernel's modules.
GUEST = r'''mkdir -p /x; mount -t ext4 -o ro /dev/vda /x || exit 1
for d in dev proc sys; do mount --bind /$d /x/$d; done
for d in tmp run var/log; do mount -t tmpfs t /x/$d; done
mkdir -p /x/dev/pts
mount -t devpts -o ptmxmode=666 d /x/dev/pts
printf 'Section "ServerFlags"\nOption "AutoAddDevices" "off"\nEndSection\nSection "Device"\nIdentifier "d"\nDriver "modesetting"\nEndSection\n' > /x/tmp/conf
cat > /x/tmp/run <<'R'
export DISPLAY=:0 HOME=/tmp PATH=/usr/bin:/bin
Xorg :0 vt1 -config /tmp/conf -logfile /tmp/log -noreset >/tmp/out 2>&1 &
for i in $(seq 100); do xset q >/dev/null 2>&1 && break; sleep 0.2; done
xsetroot -solid steelblue || cat /tmp/log /tmp/out
xeyes -geometry 300x200+300+40 &
xterm -geometry 80x20+40+300 -e sh -c 'seq 1 15; sleep 10000' &
echo @ready
while xrandr >/dev/null && xrandr --output Virtual-1 --preferred; do sleep 0.5; done
R
chroot /x sh /tmp/run
'''


def pixel(picture, x, y):
    width, _, pixels = picture
    at = (y * width + x) * 3
    return tuple(pixels[at:at + 3])


def is_drawn(picture):
    """The root, an eye's white and its rim, the last line of the terminal."""
    width, height, pixels = picture
    line = set(pixel(picture, x, y) for x in range(43, 56) for y in range(487, 498))
    return (pixel(picture, width - 1, height - 1) == pixel(picture, 0, 0) == ROOT and pixel(picture, 372, 80) == (255, 255, 255) and
            pixel(picture, 307, 140) == (0, 0, 0) and line == {(0, 0, 0), (255, 255, 255)})


class Bed(gpu.Bed):
    modules = ('virtio_gpu', 'bochs')

    def __init__(self, program, root, guest, folder):
        self.disk = f'{guest}/debian.raw'
        if not os.path.exists(self.disk):
            raise Skipped(f'no guest with an X server in {guest} (see `check`)')
        super().__init__(program, root, folder, GUEST)

    def start_x(self, name, *options):
        machine = self.start_kernel(name, '--machine', 'pc', '--disk', f'{self.disk},snapshot=on', *options)
        try:
            machine.wait_text('@ready')
            gpu.until('X shows something else', lambda: is_drawn(machine.dump()))
        except BaseException:
            machine.__exit__()
            raise
        return machine


def run(bed):
    with bed.start_x('s', '--vga', 'std') as std:
        wanted = std.dump()
    with bed.start_x('v', '--vga', 'virtio,max_outputs=2', '--vnc', f'unix:{bed.folder}/vnc') as virtio:
        gpu.until('another picture on virtio', lambda: virtio.dump() == wanted)
        other = virtio.dump(device='vga', head=1)
        check(other[:2] == (1280, 800) and set(other[2][i:i + 3] for i in range(0, len(other[2]), 3)) == {bytes(ROOT)},
              'the desktop does not go on on the second screen')
        viewer = gpu.Viewer(f'{bed.folder}/vnc')
        viewer.wish(1400, 900)
        gpu.until('X keeps its size', lambda: virtio.dump()[:2] == (1400, 900) and is_drawn(virtio.dump()))


def main():
    program, root, guest = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix='kv-test-') as folder:
        try:
            run(Bed(os.path.abspath(program), root, guest, folder))
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except Failed as reason:
            print(reason)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
