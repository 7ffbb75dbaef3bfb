"""A multiprocessor of sm_90: blocks of warps that share four parts, one data pipe for shared memory and L1, and one way to L2.

Widths: FP64 and integer units 16 lanes a part and clock, conversions of doubles 4 (CUDA programming guide, throughput of arithmetic
instructions); shared memory and L1 128 bytes a clock (the same guide). Assumed, not measured here: L2 24 bytes a clock and multiprocessor (5.5 TB/s
over 132 multiprocessors at 1.755 GHz), and the latencies below, in clocks after an access has passed the data pipe. Fixed latencies are those of the
control words. Not modelled: instruction fetch, L1 misses of the roots, L2 misses, power.
"""

import heapq
from collections import Counter, deque

PARTS = 4
WIDTHS = {'fp64': 2, 'alu': 2, 'fma': 2, 'conversion': 8}
SHARED_LATENCY, L1_LATENCY, L2_LATENCY, CONVERSION_LATENCY, CONSTANT_LATENCY, BARRIER_LATENCY = 24, 38, 260, 20, 35, 20
L2_BYTES_A_CLOCK = 24
# Accesses of a part that wait for the data pipe.
QUEUE = 8

ALU = set('LOP3 SHF IADD3 LEA ISETP VIMNMX VIADDMNMX SEL PRMT VIADD MOV BREV POPC FLO PLOP3'.split())
CONSTANT = set('LDC S2R S2UR R2UR ULDC'.split())
LSU = set('LDS STS LDG STG LDL STL ATOMS'.split())


def pipe_of(base):
    if base in ('DFMA', 'DADD', 'DMUL', 'DSETP'):
        return 'fp64'
    if base in ('I2F', 'F2I', 'MUFU'):
        return 'conversion'
    if base in ('IMAD', 'HFMA2', 'FFMA'):
        return 'fma'
    if base == 'BAR':
        return 'barrier'
    return 'alu' if base in ALU else 'lsu' if base in LSU else 'constant' if base in CONSTANT else None


def wavefronts(addresses, width):
    """Passes over the 32 banks that one shared access of a warp takes: 16-byte accesses go by quarters of the warp, 8-byte ones by halves."""
    lanes, passes = 128 // width, 0
    for first in range(0, len(addresses), lanes):
        banks = {}
        for address in addresses[first:first + lanes]:
            for word in range(address // 4, (address + width) // 4 or 1):
                banks.setdefault(word % 32, set()).add(word)
        passes += max(map(len, banks.values()))
    return passes


class Step:
    """An instruction of a trace as the pipes see it."""

    __slots__ = ('pipe', 'stall', 'write', 'read', 'wait', 'passes', 'bytes', 'is_shared', 'is_branch')

    def __init__(self, instruction, addresses, from_l2):
        self.pipe = pipe_of(instruction.base)
        self.stall, self.write, self.read, self.wait = instruction.stall, instruction.write, instruction.read, instruction.wait
        self.is_branch, self.is_shared = instruction.base == 'BRA', instruction.base in ('LDS', 'STS', 'ATOMS')
        self.passes = self.bytes = 0
        if self.pipe == 'lsu':
            width = 16 if '128' in instruction.flags else 8 if '64' in instruction.flags else 4
            if self.is_shared and addresses:
                self.passes = wavefronts(addresses, width)
            else:
                self.passes = width // 4
            if from_l2:
                self.bytes = width * len(addresses)


def simulate(traces, block_of_warp, stagger, wanted):
    """Clocks at which every block ends its iterations, how long each pipe was busy, and for how many clocks in all.

    A trace is a warp's iterations, each a list of steps; warps run them again and again until every block has ended `wanted` iterations, so that
    all blocks are at work all the time.
    """
    warps = len(traces)
    steps = [[step for iteration in trace for step in iteration] for trace in traces]
    ends = [set() for _ in traces]
    for warp, trace in enumerate(traces):
        total = 0
        for iteration in trace:
            total += len(iteration)
            ends[warp].add(total)
    members = {}
    for warp, block in enumerate(block_of_warp):
        members.setdefault(block, []).append(warp)
    parts = [[warp for warp in range(warps) if warp % PARTS == part] for part in range(PARTS)]
    at, ready = [0] * warps, [stagger * block for block in block_of_warp]
    board = [[0] * 8 for _ in range(warps)]
    arrived = [False] * warps
    free = [dict.fromkeys(WIDTHS, 0) for _ in range(PARTS)]
    queues, last = [deque() for _ in range(PARTS)], [None] * PARTS
    events, marks, busy = [], {block: [] for block in members}, Counter()
    clock, pipe_free, l2_free, turn = 0, 0, 0.0, 0
    counted = {block: 0 for block in members}

    def release(when, warp, number):
        if number < 6:
            heapq.heappush(events, (when, warp, number))

    while min(map(len, marks.values())) < wanted:
        while events and events[0][0] <= clock:
            _, warp, number = heapq.heappop(events)
            board[warp][number] -= 1
        progress = False
        if pipe_free <= clock:
            for offset in range(PARTS):
                queue = queues[(turn + offset) % PARTS]
                if queue:
                    warp, step = queue.popleft()
                    turn += offset + 1
                    pipe_free = clock + step.passes
                    busy['shared'] += step.passes
                    done = pipe_free + (SHARED_LATENCY if step.is_shared else L1_LATENCY)
                    if step.bytes:
                        l2_free = max(l2_free, clock) + step.bytes / L2_BYTES_A_CLOCK
                        busy['l2'] += step.bytes / L2_BYTES_A_CLOCK
                        done = max(clock + L2_LATENCY, int(l2_free) + L2_LATENCY)
                    release(pipe_free + 6, warp, step.read)
                    release(done, warp, step.write)
                    progress = True
                    break
        for part in range(PARTS):
            chosen = None
            candidates = parts[part] if last[part] is None else [last[part], *parts[part]]
            for warp in candidates:
                if arrived[warp] or ready[warp] > clock:
                    continue
                step = steps[warp][at[warp]]
                wait = step.wait
                if wait and any(wait >> number & 1 and board[warp][number] for number in range(6)):
                    continue
                if step.pipe in WIDTHS and free[part][step.pipe] > clock:
                    continue
                if step.pipe == 'lsu' and len(queues[part]) >= QUEUE:
                    continue
                chosen = warp
                break
            if chosen is None:
                continue
            progress, last[part], warp = True, chosen, chosen
            busy['issue'] += 0.25
            ready[warp] = clock + (max(step.stall, 8) if step.is_branch else step.stall)
            if step.pipe is not None:
                for number in (step.write, step.read):
                    board[warp][number] += 1
            if step.pipe == 'lsu':
                queues[part].append((warp, step))
            elif step.pipe in WIDTHS:
                free[part][step.pipe] = clock + WIDTHS[step.pipe]
                busy[step.pipe] += WIDTHS[step.pipe] / PARTS
                release(clock + 10, warp, step.read)
                release(clock + WIDTHS[step.pipe] + CONVERSION_LATENCY, warp, step.write)
            elif step.pipe is not None:
                release(clock + 10, warp, step.read)
                release(clock + CONSTANT_LATENCY, warp, step.write)
            at[warp] += 1
            block = block_of_warp[warp]
            if step.pipe == 'barrier':
                arrived[warp] = True
                if all(arrived[other] for other in members[block]):
                    for other in members[block]:
                        arrived[other] = False
                        ready[other] = max(ready[other], clock + BARRIER_LATENCY)
            if at[warp] in ends[warp]:
                counted[block] += 1
                if counted[block] % len(members[block]) == 0:
                    marks[block].append(clock)
                if at[warp] == len(steps[warp]):
                    at[warp] = 0
        if progress:
            clock += 1
        else:
            times = [when for when, *_ in events[:1]] + [when for when in ready if when > clock] + [
                when for part in free for when in part.values() if when > clock]
            if any(queues) and pipe_free > clock:
                times.append(pipe_free)
            if not times:
                raise RuntimeError('no warp can go on: a scoreboard is never released')
            clock = max(clock + 1, min(times))
    return marks, busy, clock
