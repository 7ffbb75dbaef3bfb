"""What clocks of one sm_90 multiprocessor the kernels take, read off their machine code: `kernels/images/cycles.txt`.

    python3 kernels/pipes IMAGES CUOBJDUMP [KERNEL ...]

Bootstraps by doubles: predicted clocks a ciphertext and bit of the key. The loop over the key's bits is replayed instruction by instruction
(`warp.py` finds the way and the addresses, `multiprocessor.py` counts the clocks), for the most ciphertexts a block and for half of them, levels in
turns and side by side, with as many blocks as registers and shared memory leave room for, up to four; the least counts. A model, good for comparing
one kernel with its own next version, not a measurement.

Exact bootstraps and kernels of CKKS: the instructions that stand in the code.
"""

import gc
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from multiprocessor import PARTS, busy, pipe_of, simulate, step
from warp import BLOCK_DIMENSION, PARAMETERS, STACK, Warp, disassembly

ABOUT = """\
# Predicted clocks a ciphertext and bit of the key, on one multiprocessor of sm_90, by a model (kernels/pipes); blocks = resident x ciphertexts each.
# After the clocks: those in which instructions are issued, and in which each pipe is busy.
"""
ABOUT_COUNTS = """\
# Instructions a thread as they stand in the code, every path and every round of a loop once; of exact bootstraps, one step of the loop over the key.
# issue: clocks a block that their issue takes at the least.
"""
SOURCES = Path(__file__).parent.parent / 'src'
KEY_BITS = 900
# Iterations that are read off the code, that every block runs, and that count: the first ones fill the pipes.
ITERATIONS, WANTED, COUNTED = 2, 5, 3
# Buffers of a launch begin here: input, key, roots, turns, tables, table of a value, row of a value, output.
BUFFERS = [at << 28 for at in range(1, 9)]
KEY = 2
# Clocks from one block's start to the next one's: blocks drift apart on a device.
STAGGER = 1500
REGISTERS, SHARED_BYTES, MOST_SHARED_BYTES = 65536, 228 << 10, 227 << 10


def exponent(size):
    """What the modulus switch left at an address: any number below 2N."""
    return lambda address: (address * 0x9E3779B1 >> 7) % (2 * size)


def main_loop(code):
    """First and last address of the longest loop."""
    back = [(int(i.operands[-1], 16), i.address) for i in code if i.base == 'BRA' and 'U' not in i.flags]
    return max((ends for ends in back if ends[0] < ends[1]), key=lambda ends: ends[1] - ends[0])


def traces(code, size, columns, threads, ciphertexts, level, grouping):
    """Iterations of every warp of a block, and the dynamic shared memory that it touches."""
    bits = ITERATIONS * grouping
    block = [1 << 20, 1, bits, 20 // level, level, ciphertexts, 0, grouping]
    constants = {BLOCK_DIMENSION: threads, STACK: 0x1000}
    constants.update({PARAMETERS + 4 * at: word for at, word in enumerate(block)})
    for at, buffer in enumerate(BUFFERS):
        constants.update({PARAMETERS + 32 + 8 * at: buffer, PARAMETERS + 36 + 8 * at: 0})
    first, last = main_loop(code)
    block_traces, highest = [], 0
    for thread in range(0, threads, 32):
        iterations, inside = [], False
        warp = Warp(code, constants, thread, exponent(size))
        for instruction, lanes, addresses in warp.run():
            if instruction.address == first:
                iterations.append([])
                inside = warp.is_strict = True
            if instruction.base in ('LDS', 'STS') and addresses:
                highest = max(highest, max(addresses) + 2)
            if inside:
                if instruction.base in ('LDS', 'LDG') and lanes and not addresses:
                    raise RuntimeError(f'an address that is not known at {instruction.address:#x}')
                from_l2 = instruction.base == 'LDG' and addresses and addresses[0] >> 28 == KEY
                if lanes or instruction.base == 'BRA' or not instruction.predicate:
                    iterations[-1].append(step(instruction, addresses, from_l2))
            if instruction.address == last:
                inside = warp.is_strict = False
        if len(iterations) != ITERATIONS:
            raise RuntimeError(f'{len(iterations)} iterations of the loop at {first:#x} in place of {ITERATIONS}')
        block_traces.append(iterations)
    key_bytes = sum(one.bytes for trace in block_traces for one in trace[0])
    expected = ((1 << grouping) - 1) * columns * columns * level * size // 2 * 16
    if key_bytes != expected:
        raise RuntimeError(f'{key_bytes} bytes of the key a step in place of {expected}')
    return block_traces, highest - 0x400 + 2 * ciphertexts * (KEY_BITS - bits)


def whole_warps(threads):
    return -(-threads // 32) * 32


def resident(threads, registers, shared):
    """Blocks of a multiprocessor, up to four; each has 1 KiB of shared memory beside its own."""
    warps = threads // 32
    by_registers = PARTS * (REGISTERS // PARTS // (32 * -(-registers // 8) * 8)) // warps
    return min(by_registers, SHARED_BYTES // (shared + 1024), 64 // warps, 4) if shared <= MOST_SHARED_BYTES else 0


def predict(name, code, registers, most, wide):
    """The line of a bootstrap by doubles."""
    size, k = map(int, name.split('_')[-2:])
    columns, level, grouping = k + 1, 2 if '_levels_' in name else 1, 2 if '_groups_' in name else 1
    # As in kernels/src/shapes.rs.
    is_lean = size <= 512 or (size == 1024 and level > 1)
    threads_a_polynomial = size // 2 // (16 if is_lean else 32)
    most_threads = 512 if is_lean else 256
    if (size, k, level, grouping) in wide:
        most = wide[size, k, level, grouping]
        most_threads = whole_warps(most * columns * threads_a_polynomial)
    found = []
    for ciphertexts in sorted({most, (most + 1) // 2}):
        for ways in sorted({1, level}):
            threads = whole_warps(ciphertexts * columns * threads_a_polynomial * ways)
            if threads > most_threads or (ways > 1 and threads_a_polynomial > 32):
                continue
            block, shared = traces(code, size, columns, threads, ciphertexts, level, grouping)
            if blocks := resident(threads, registers, shared):
                ends = simulate(block, blocks, STAGGER, WANTED)
                clocks = sum(end[WANTED - 1] - end[WANTED - 1 - COUNTED] for end in ends) / blocks / COUNTED
                rate = clocks / (blocks * ciphertexts * grouping)
                found.append((rate, blocks, ciphertexts, threads, block))
    rate, blocks, ciphertexts, threads, block = min(found, key=lambda one: one[0])
    share = busy(block)
    pipes = ' '.join(f'{pipe}={share[pipe] / ITERATIONS / ciphertexts / grouping:.0f}'
                     for pipe in ('issue', 'fp64', 'alu', 'fma', 'conversion', 'shared', 'l2'))
    return f'{name} blocks={blocks}x{ciphertexts} threads={threads} cycles={rate:.0f} {pipes}'


def count(name, code, threads):
    """The line of any other kernel."""
    if 'exact' in name:
        first, last = main_loop(code)
        code = [one for one in code if first <= one.address <= last]
    # What stands behind a kernel's last instruction jumps to itself.
    code = [one for one in code if one.base != 'NOP' and not (one.base == 'BRA' and int(one.operands[-1], 16) == one.address)]
    pipes = Counter(pipe_of(one.base) for one in code)
    named = {pipe: pipes[pipe] for pipe in ('fma', 'alu', 'lsu')}
    fields = ' '.join(f'{pipe}={number}' for pipe, number in {**named, 'other': len(code) - sum(named.values())}.items())
    return f'{name} threads={threads} instructions={len(code)} {fields} issue={len(code) * -(-threads // 32) // PARTS}'


def listings(cuobjdump, image):
    """Texts of an image's kernels for sm_90 by name."""
    run = subprocess.run([cuobjdump, '-sass', '-arch', 'sm_90', image], capture_output=True, text=True, check=True)
    return {text.split(None, 1)[0]: text for text in run.stdout.split('Function : ')[1:]}


def shapes(source):
    """By N and k, the two numbers that follow in a table of shapes."""
    found = re.findall(r'    shape\((\d+), (\d+), (\d+), (\d+)\),', (SOURCES / source).read_text())
    return {f'{n}_{k}': (int(one), int(other)) for n, k, one, other in found}


def wide_blocks():
    """Most ciphertexts of wide blocks by N, k, number of levels and grouping."""
    found = re.findall(r'    \((\d+), (\d+), (true|false), (true|false), (\d+)\),', (SOURCES / 'shapes.rs').read_text())
    return {(int(n), int(k), 1 + (levels == 'true'), 1 + (groups == 'true')): int(most) for n, k, levels, groups, most in found}


def line(job):
    function, name, text, *more = job
    try:
        return function(name, disassembly(text), *more)
    except RuntimeError as error:
        raise RuntimeError(f'{name}: {error}') from error


def main():
    images, cuobjdump, *wanted = sys.argv[1:]
    images = Path(images)
    registers = dict(re.findall(r'^\S+ (\S+) registers=(\d+)', (images / 'resources.txt').read_text(), re.M))
    by_doubles, wide, exact = shapes('shapes.rs'), wide_blocks(), shapes('exact_shapes.rs')
    paths = sorted([*images.glob('lwe_bootstrap_*.fatbin'), *images.glob('rns_*.fatbin')])
    # There are no cycles of objects, and the collector would walk all traces again and again.
    gc.disable()
    predictions, counts = [], []
    with Pool() as pool:
        for kernels in pool.imap(partial(listings, cuobjdump), paths):
            for name, text in sorted(kernels.items()):
                shape = '_'.join(name.split('_')[-2:])
                if wanted and name not in wanted:
                    continue
                if name.startswith('lwe_bootstrap_exact_'):
                    counts.append((count, name, text, exact[shape][1]))
                elif name.startswith('lwe_bootstrap_'):
                    predictions.append((predict, name, text, int(registers[name]), by_doubles[shape]['_levels_' in name], wide))
                elif name.startswith('rns_'):
                    # As in kernels/src/shapes.rs.
                    words = re.fullmatch(r'rns_(?:forward|inverse|switch)_(\d+)', name)
                    counts.append((count, name, text, int(words[1]) // 32 if words else 256))
        for about, jobs in ((ABOUT, predictions), (ABOUT_COUNTS, counts)):
            print(about, end='')
            for one in pool.imap(line, jobs):
                print(one, flush=True)


if __name__ == '__main__':
    main()
