# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run has: the options, the results so far, and the files that the benches need, each made when it is first asked for."""
import functools
import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Context:
    def __init__(self, args, folder):
        self.args, self.folder, self.results, self.faults = args, folder, [], 0

    @functools.cached_property
    def initrd(self):
        path = f'{self.folder}/initrd'
        subprocess.run([f'{TOP}/tools/make-initrd', path], check=True)
        return path

    @functools.cached_property
    def vmlinux(self):
        path = f'{self.folder}/vmlinux'
        subprocess.run([f'{TOP}/tools/vmlinux', path], check=True)
        return path

    @functools.cached_property
    def kernel(self):
        listing = subprocess.run('ls /boot/vmlinuz-*-cloud-amd64 | sort -V | tail -n 1', shell=True, capture_output=True,
                                 text=True, check=True)
        return listing.stdout.strip()

    @functools.cached_property
    def programs(self):
        """Where bench/meson.build's programs are, built."""
        build = os.path.abspath(self.args.build)
        done = subprocess.run(['ninja', '-C', build, '--quiet', 'bench'], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f'bench/run: cannot build the bench programs: run meson setup {build}\n{done.stdout[-2000:]}')
        return f'{build}/bench'

    @property
    def have_vmm(self):
        return os.access(self.args.vmm, os.X_OK)
