# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables: of whole machines (boot, memory, idle), and of many small things on several machines (kernels, primitives)."""
import math
import statistics

# Heading, what is divided by what
RATIOS = (('ours / native', 'ours', 'native'), ('TCG / native', 'tcg', 'native'), ('TCG / ours', 'tcg', 'ours'),
          ('qemu-img / ours', 'qemu-img', 'ours'), ('qemu-nbd / ours', 'qemu-nbd', 'ours'), ('libvirt / ours', 'libvirt', 'ours'))


def machines(title, unit, rows, results):
    """rows: (case, {column: [values]}); the first column has the ratio to QEMU's best."""
    print(f'\n## {title}\n')
    columns = list(rows[0][1])
    print('| vCPUs | machine | ' + ' | '.join(f'{column} min | median' for column in columns) + ' | ratio |')
    print('| --- | --- |' + ' --- | --- |' * len(columns) + ' --- |')
    for case, values in rows:
        rivals = [min(other[columns[0]]) for rival, other in rows if not rival.ours and rival.cpus == case.cpus]
        ratio = min(values[columns[0]]) / min(rivals) if rivals and min(rivals) else float('nan')
        cells = ' | '.join(f'{min(values[c]):.2f} | {statistics.median(values[c]):.2f}' for c in columns)
        print(f'| {case.cpus} | {case.name} | {cells} | {ratio:.2f} |')
        results.append({'bench': title, 'machine': case.name, 'vcpus': case.cpus, 'unit': unit, 'values': values, 'ratio': ratio})
    print(flush=True)


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def _number(value):
    return f'{value:.2f}' if value < 100 else f'{value:.0f}'


def _ratio(values, over, under):
    """How many times as long `over` takes, of the minima."""
    return min(values[over]) / min(values[under]) if values.get(over) and values.get(under) else None


def matrix(title, unit, columns, rows, classes, results):
    """rows: {name: {column: [values]}} with the columns 'ours', 'tcg', 'native', of which any may be absent; classes: {name:
    [rows]} for the geometric means of the ratios."""
    ratios = [ratio for ratio in RATIOS if ratio[1] in columns and ratio[2] in columns]
    print(f'\n## {title} ({unit})\n')
    print('| |' + ''.join(f' {column} min | median |' for column in columns) + ''.join(f' {head} |' for head, _, _ in ratios))
    print('| --- |' + ' --- |' * (2 * len(columns) + len(ratios)))
    for name, values in rows.items():
        cells = [f'{_number(min(v))} | {_number(statistics.median(v))}' if v else '- | -' for v in map(values.get, columns)]
        found = [_ratio(values, over, under) for _, over, under in ratios]
        print(f'| {name} | ' + ' | '.join(cells + [f'{r:.2f}' if r else '-' for r in found]) + ' |')
        results.append({'bench': title, 'name': name, 'unit': unit, 'values': values})
    for name, members in classes.items():
        means = {}
        for head, over, under in ratios:
            known = [r for r in (_ratio(rows[m], over, under) for m in members if m in rows) if r]
            means[head] = geomean(known) if len(known) == len(members) else None
        cells = ''.join(f' **{mean:.2f}** |' if mean else ' - |' for mean in means.values())
        print(f'| **geomean, {name}** |' + ' |' * (2 * len(columns)) + cells)
        results.append({'bench': title, 'class': name, 'geomean': means})
    print(flush=True)


def scaling(title, columns, rows, results):
    """rows: {name: {column: factor}}."""
    print(f'\n## {title}\n')
    print('| |' + ''.join(f' {column} |' for column in columns))
    print('| --- |' + ' --- |' * len(columns))
    for name, values in rows.items():
        print(f'| {name} |' + ''.join(f' {values[column]:.2f} |' for column in columns))
        results.append({'bench': title, 'name': name, 'values': values})
    means = {column: geomean([values[column] for values in rows.values()]) for column in columns}
    print('| **geomean** |' + ''.join(f' **{mean:.2f}** |' for mean in means.values()) + '\n', flush=True)
    results.append({'bench': title, 'class': 'all', 'geomean': means})
