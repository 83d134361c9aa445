# SPDX-License-Identifier: GPL-2.0-or-later
"""What the test programs of this folder share. A case is a function case_NAME(bed): it returns, fails or is skipped; the bed is what
all cases of one run use, made in a folder of its own."""
import json
import socket
import tempfile


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(condition, what, *more):
    if not condition:
        raise Failed('\n'.join([what, *(item if isinstance(item, str) else json.dumps(item) for item in more)]))


def listens(path):
    """Whether somebody does at a Unix socket, whose file is there before."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def run(functions, names, make_bed):
    """The named cases among these (globals()), or all; the exit status. make_bed(folder)."""
    cases = {name[5:].replace('_', '-'): function for name, function in functions.items() if name.startswith('case_')}
    name = 'bed'
    with tempfile.TemporaryDirectory(prefix='kv-test-') as folder:
        try:
            bed = make_bed(folder)
            for name in names or cases:
                cases[name](bed)
                print(f'{name}: good', flush=True)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except Failed as reason:
            print(f'{name}: {reason}')
            return 1
    return 0


def one(word, function, *arguments):
    """A program of one case: function(*arguments, folder); the exit status."""
    with tempfile.TemporaryDirectory(prefix='kv-test-') as folder:
        try:
            function(*arguments, folder)
        except Skipped as reason:
            print(f'skipped: {reason}')
            return 77
        except Failed as reason:
            print(f'{word}: {reason}')
            return 1
    print(f'{word}: good')
    return 0
