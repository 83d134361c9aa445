#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In the place of kv-vmm for kvd-agent.py: a machine that has a monitor and an agent's port and nothing else. What its agent says
to a command is a file's in the folder KV_AGENT: COMMAND.json is the answer as it is; LOG gets the commands. What its monitor does
when it is asked something is a list of steps in do-COMMAND.json (kvd-faults.py).   usage: as kv-vmm's"""
import json
import os
import re
import selectors
import socket
import sys
import time

FOLDER = os.environ['KV_AGENT']
EVENTS = {'guest-suspend-ram': ('SUSPEND', {}), 'guest-shutdown reboot': ('RESET', {'guest': True}),
          'guest-shutdown powerdown': ('SHUTDOWN', {'guest': True, 'reason': 'guest-shutdown'})}


def listen(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    return server


class Machine:
    def __init__(self, words):
        text = ' '.join(words)
        self.monitor, self.agent, self.data = None, None, {}
        self.select = selectors.DefaultSelector()
        self.open = not os.path.exists(f'{FOLDER}/closed')
        self.select.register(listen(re.search(r'socket=unix:(\S+)', text)[1]), selectors.EVENT_READ, self.come_monitor)
        port = re.search(r'to=unix:([^, ]+)', text)[1]
        if os.path.exists(port):
            os.unlink(port)
        self.select.register(listen(port), selectors.EVENT_READ, self.come_agent)

    def run(self):
        while True:
            for key, _ in self.select.select():
                key.data(key.fileobj)

    def come_monitor(self, server):
        self.monitor = server.accept()[0]
        self.tell({'QMP': {'version': {'qemu': {'major': 7, 'minor': 2, 'micro': 0}, 'package': ''}, 'capabilities': []}})
        self.select.register(self.monitor, selectors.EVENT_READ, lambda fd: self.read(fd, self.command))

    def come_agent(self, server):
        self.agent = server.accept()[0]
        self.select.register(self.agent, selectors.EVENT_READ, lambda fd: self.read(fd, self.ask))

    def read(self, fd, use):
        try:
            data = fd.recv(65536)
        except ConnectionResetError:  # who has not read what it was told
            data = b''
        if not data:
            self.select.unregister(fd)
            self.data.pop(fd, None)
            fd.close()
            return
        *lines, self.data[fd] = (self.data.get(fd, b'') + data).split(b'\n')
        for line in lines:
            use(line)

    def tell(self, message):
        try:
            self.monitor.sendall(json.dumps(message).encode() + b'\r\n')
        except OSError:
            pass  # who asked has gone

    def event(self, name, data):
        self.tell({'event': name, 'data': data, 'timestamp': {'seconds': 1, 'microseconds': 0}})
        if name == 'SHUTDOWN':
            sys.exit(0)

    def follow(self, message, steps):
        """["return", value], ["error", words], ["event", name, data], ["wait", file that is to come], ["mark", file], ["end"]."""
        for what, *more in steps:
            if what == 'event':
                self.event(*more)
            elif what == 'mark':
                with open(f'{FOLDER}/{more[0]}', 'wb'):
                    pass
            elif what == 'wait':
                with open(f'{FOLDER}/waits-{more[0]}', 'wb'):
                    pass
                while not os.path.exists(f'{FOLDER}/{more[0]}'):
                    time.sleep(.01)
            elif what == 'end':
                os._exit(0)
            else:
                value = more[0] if what == 'return' else {'class': 'GenericError', 'desc': more[0]}
                self.tell({what: value, 'id': message.get('id')})

    def command(self, line):
        message = json.loads(line)
        if os.path.exists(f'{FOLDER}/do-{message["execute"]}.json'):
            with open(f'{FOLDER}/do-{message["execute"]}.json', encoding='utf-8') as file:
                return self.follow(message, json.load(file))
        answer = {'query-chardev': [{'label': 'channel0', 'filename': 'unix:x', 'frontend-open': self.open}],
                  'query-status': {'status': 'running', 'running': True}}.get(message['execute'], {})
        if message['execute'] == 'system_wakeup':
            self.event('WAKEUP', {})
        if message['execute'] == 'emit':  # the test's hand
            self.open = message['arguments']['data'].get('open', self.open)
            self.event(message['arguments']['event'], message['arguments']['data'])
        self.tell({'return': answer, 'id': message.get('id')})
        if message['execute'] == 'quit':
            sys.exit(0)

    def ask(self, line):
        message = json.loads(line.lstrip(b'\xff'))
        name, args = message['execute'], message.get('arguments', {})
        with open(f'{FOLDER}/log', 'a', encoding='utf-8') as file:
            file.write(json.dumps(message) + '\n')
        if name == 'guest-sync-delimited':
            return os.path.exists(f'{FOLDER}/silent') or self.say(b'rubbish {\n\xff' + json.dumps({'return': args['id']}).encode() + b'\n')
        event = EVENTS.get(f'{name} {args["mode"]}' if 'mode' in args else name)
        if event:
            return self.event(*event)
        path = f'{FOLDER}/{name}.json'
        if not os.path.exists(path):
            path = f'{FOLDER}/error.json'
        with open(path, 'rb') as file:
            return self.say(file.read())

    def say(self, data):
        try:
            self.agent.sendall(data)
        except OSError:
            pass


Machine(sys.argv[1:]).run()
