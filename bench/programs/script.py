# SPDX-License-Identifier: GPL-2.0-or-later
"""What Python programs spend their time on, a little of each: calls, floats, lists, dicts, text, json, regular expressions.
Prints the results, which are the same on every machine. Run by the item "python" of items."""
import json
import re


def nbody(steps):
    bodies = [[0.0, 0.0, 0.0, 39.47], [4.84, -1.16, 0.002, 0.037], [8.34, 4.12, -4.0, 0.011], [12.89, -15.11, -0.22, 0.0017]]
    speeds = [[0.0, 0.001 * i, 0.0] for i in range(4)]
    for _ in range(steps):
        for i, a in enumerate(bodies):
            for j in range(i + 1, 4):
                b = bodies[j]
                d = [a[k] - b[k] for k in range(3)]
                pull = 0.01 / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) ** 1.5
                for k in range(3):
                    speeds[i][k] -= d[k] * b[3] * pull
                    speeds[j][k] += d[k] * a[3] * pull
        for body, speed in zip(bodies, speeds):
            for k in range(3):
                body[k] += 0.01 * speed[k]
    return '%.9f' % sum(sum(body) for body in bodies)


def fannkuch(n):
    """Flips of all permutations of n."""
    def permute(head, rest):
        if not rest:
            yield head
        for i, item in enumerate(rest):
            yield from permute(head + [item], rest[:i] + rest[i + 1:])
    most = 0
    for perm in permute([], list(range(n))):
        flips = 0
        while perm[0]:
            k = perm[0] + 1
            perm[:k] = perm[k - 1::-1] if k > 1 else perm[:k]
            flips += 1
        most = max(most, flips)
    return most


def words(count):
    seen = {}
    state = 1
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7fffffff
        word = 'w%d' % (state >> 16 & 1023)
        seen[word] = seen.get(word, 0) + 1
    text = json.dumps({word: [n, {'half': n / 2}] for word, n in sorted(seen.items())})
    again = json.loads(text)
    found = re.findall(r'"w(\d+)1": \[(\d+), \{"half": (\d+)\.5', text)
    return len(text), sum(item[0] for item in again.values()), len(found)


class Node:
    def __init__(self, depth):
        self.left = Node(depth - 1) if depth else None
        self.right = Node(depth - 1) if depth else None

    def count(self):
        return 1 + (self.left.count() + self.right.count() if self.left else 0)


print(nbody(3000), fannkuch(8), words(100000), Node(15).count())
