"""Predicted clocks a ciphertext and bit of the key, of one multiprocessor, for every bootstrap kernel: read off its machine code.

    python3 kernels/pipes IMAGES CUOBJDUMP [KERNEL ...]     prints a line a kernel, number of levels and grouping

The loop over the key's bits is replayed instruction by instruction (`warp.py` finds the way and the addresses, `multiprocessor.py` counts the
clocks), for the most ciphertexts a block and for half of them, levels in turns and side by side, with as many blocks as registers and
shared memory leave room for; the least counts. It is a
model, good for comparing one kernel with its own next version, not a measurement.
"""

import re
import subprocess
import sys
from multiprocessing import Pool
from pathlib import Path

from multiprocessor import Step, simulate
from warp import BLOCK_DIMENSION, PARAMETERS, STACK, Warp, disassembly

KEY_BITS = 900
# Iterations that are read off the code, that every block runs, and that count: the first ones fill the pipes.
ITERATIONS, WANTED, COUNTED = 2, 6, 4
# Buffers of a launch begin here: input, key, roots, turns, tables, table of a value, row of a value, output.
BUFFERS = [at << 28 for at in range(1, 9)]
KEY = 2
# Clocks from one block's start to the next one's: blocks drift apart on a device.
STAGGER = 1500
REGISTERS, SHARED_BYTES, MOST_SHARED_BYTES = 65536, 228 << 10, 227 << 10


def exponent(size):
    """What the modulus switch left at an address: any number below 2N."""
    return lambda address: (address * 0x9E3779B1 >> 7) % (2 * size)


def traces(code, size, columns, threads, ciphertexts, level, grouping):
    """Iterations of every warp of a block, and the dynamic shared memory that it touches."""
    base_log = 20 // level
    bits = ITERATIONS * grouping
    block = [1 << 20, 1, bits, base_log, level, ciphertexts, 0, grouping]
    constants = {BLOCK_DIMENSION: threads, STACK: 0x1000}
    constants.update({PARAMETERS + 4 * at: word for at, word in enumerate(block)})
    for at, buffer in enumerate(BUFFERS):
        constants.update({PARAMETERS + 32 + 8 * at: buffer, PARAMETERS + 36 + 8 * at: 0})
    back = [i for i in code if i.base == 'BRA' and int(i.operands[-1], 16) < i.address and 'U' not in i.flags]
    loop = max(back, key=lambda i: i.address - int(i.operands[-1], 16))
    first, last = int(loop.operands[-1], 16), loop.address
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
                    iterations[-1].append(Step(instruction, addresses, from_l2))
            if instruction.address == last:
                inside = warp.is_strict = False
        if len(iterations) != ITERATIONS:
            raise RuntimeError(f'{len(iterations)} iterations of the loop at {first:#x} in place of {ITERATIONS}')
        block_traces.append(iterations)
    key_bytes = sum(step.bytes for trace in block_traces for step in trace[0])
    expected = ((1 << grouping) - 1) * columns * columns * level * size // 2 * 16
    if key_bytes != expected:
        raise RuntimeError(f'{key_bytes} bytes of the key a step in place of {expected}')
    shared = highest - 0x400 + 2 * ciphertexts * (KEY_BITS - bits)
    return block_traces, shared


def resident(threads, registers, shared):
    warps = threads // 32
    by_registers = 4 * (REGISTERS // 4 // (32 * -(-registers // 8) * 8)) // warps
    return min(by_registers, SHARED_BYTES // (shared + 1024), 64 // warps) if shared <= MOST_SHARED_BYTES else 0


def measure(block, blocks, work):
    """Clocks of the multiprocessor for a unit of a block's work, and those in which each pipe is busy."""
    marks, busy, clock = simulate(block * blocks, [at for at in range(blocks) for _ in block], STAGGER, WANTED)
    clocks = sum(ends[WANTED - 1] - ends[WANTED - 1 - COUNTED] for ends in marks.values()) / blocks / COUNTED
    rate = clocks / (blocks * work)
    return rate, {pipe: total * rate / clock for pipe, total in busy.items()}


def predict(job):
    """The line of a kernel at a number of levels and a grouping."""
    name, code, registers, size, columns, most, level, grouping = job
    # As in kernels/src/shapes.rs.
    is_lean = size <= 512 or (size == 1024 and level > 1)
    threads_a_polynomial = size // 2 // (16 if is_lean else 32)
    best = None
    for ciphertexts in sorted({most, (most + 1) // 2}):
        for ways in sorted({1, level}):
            threads = -(-ciphertexts * columns * threads_a_polynomial * ways // 32) * 32
            if threads > (512 if is_lean else 256) or (ways > 1 and threads_a_polynomial > 32):
                continue
            block, shared = traces(code, size, columns, threads, ciphertexts, level, grouping)
            blocks = min(resident(threads, registers, shared), 4)
            if blocks == 0:
                continue
            rate, share = measure(block, blocks, ciphertexts * grouping)
            if best is None or rate < best[0]:
                best = rate, blocks, ciphertexts, threads, share
    if best is None:
        return None
    rate, blocks, ciphertexts, threads, share = best
    pipes = ' '.join(f'{pipe}={share.get(pipe, 0):.0f}' for pipe in ('issue', 'fp64', 'alu', 'fma', 'conversion', 'shared', 'l2'))
    return f'{name} level={level} grouping={grouping} blocks={blocks}x{ciphertexts} threads={threads} cycles={rate:.0f} {pipes}'


def jobs(images, cuobjdump, wanted):
    shapes = Path(__file__).parent.parent / 'src/shapes.rs'
    found = re.findall(r'    shape\((\d+), (\d+), (\d+), (\d+)\),', shapes.read_text())
    most = {(int(n), int(k)): (int(one), int(several)) for n, k, one, several in found}
    registers = dict(re.findall(r'^\S+ (\S+) registers=(\d+)', (images / 'resources.txt').read_text(), re.M))
    for image in sorted(images.glob('lwe_bootstrap_*.fatbin')):
        listing = subprocess.run([cuobjdump, '-sass', '-arch', 'sm_90', image], capture_output=True, text=True, check=True).stdout
        for name, code in sorted(disassembly(listing).items()):
            if wanted and name not in wanted:
                continue
            size, k = map(int, name.split('_')[-2:])
            has_levels, grouping = '_levels_' in name, 2 if '_groups_' in name else 1
            yield name, code, int(registers[name]), size, k + 1, most[size, k][has_levels], 1 + has_levels, grouping


def main():
    images, cuobjdump, *wanted = sys.argv[1:]
    with Pool() as pool:
        for line in pool.imap(predict, jobs(Path(images), cuobjdump, wanted)):
            if line:
                print(line, flush=True)


if __name__ == '__main__':
    main()
