# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates in QEMU's layout (ca-cert.pem, server-cert.pem, server-key.pem, client-*.pem), by GnuTLS' certtool."""
import os
import subprocess

KEY = ['--generate-privkey', '--key-type=ecdsa', '--curve=secp256r1']


def tool(folder, *words):
    done = subprocess.run(('certtool',) + words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, timeout=180)
    assert not done.returncode, done.stdout


def template(folder, name, *lines):
    with open(f'{folder}/{name}.info', 'w', encoding='utf-8') as file:
        file.write('\n'.join(lines) + '\nexpiration_days = 1000\n')


def make_one(folder, who):
    """Another certificate for the server or the client, of the same authority."""
    template(folder, who, 'cn = localhost', 'dns_name = localhost', 'ip_address = 127.0.0.1', f'tls_www_{who}', 'signing_key')
    tool(folder, *KEY, '--outfile', f'{who}-key.pem')
    tool(folder, '--generate-certificate', '--load-ca-certificate', 'ca-cert.pem', '--load-ca-privkey', 'ca-key.pem',
         '--load-privkey', f'{who}-key.pem', '--template', f'{who}.info', '--outfile', f'{who}-cert.pem')


def make(folder):
    os.makedirs(folder, exist_ok=True)
    template(folder, 'ca', f'cn = {os.path.basename(folder)}', 'ca', 'cert_signing_key')
    tool(folder, *KEY, '--outfile', 'ca-key.pem')
    tool(folder, '--generate-self-signed', '--load-privkey', 'ca-key.pem', '--template', 'ca.info', '--outfile', 'ca-cert.pem')
    for who in 'server', 'client':
        make_one(folder, who)
