"""A multiprocessor of sm_90: blocks of warps that share four parts, one data pipe for shared memory and L1, and one way to L2.

Widths: FP64 and integer units 16 lanes a part and clock, conversions of doubles 4 (CUDA programming guide, throughput of arithmetic
instructions); shared memory and L1 128 bytes a clock (the same guide). Assumed, not measured here: L2 24 bytes a clock and multiprocessor (5.5 TB/s
over 132 multiprocessors at 1.755 GHz), and the latencies below, in clocks after an access has passed the data pipe. Fixed latencies are those of the
control words. Not modelled: instruction fetch, L1 misses of the roots, L2 misses, power.
"""

import heapq
from collections import Counter, deque, namedtuple
from functools import lru_cache

PARTS = 4
WIDTHS = {'fp64': 2, 'alu': 2, 'fma': 2, 'conversion': 8}
SHARED_LATENCY, L1_LATENCY, L2_LATENCY, CONVERSION_LATENCY, CONSTANT_LATENCY, BARRIER_LATENCY = 24, 38, 260, 20, 35, 20
BRANCH_LATENCY, OPERANDS_READ = 8, 10
L2_BYTES_A_CLOCK = 24
# Accesses of a part that wait for the data pipe.
QUEUE = 8
# Scoreboards of a warp; control words have 7 for none.
BOARDS = 6
NEVER = 1 << 60

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


@lru_cache(maxsize=None)
def wavefronts(addresses, width):
    """Passes over the 32 banks that one shared access of a warp takes: 16-byte accesses go by quarters of the warp, 8-byte ones by halves."""
    lanes, passes = 128 // width, 0
    for first in range(0, len(addresses), lanes):
        banks = {}
        for address in addresses[first:first + lanes]:
            for word in range(address // 4, (address + width) // 4 or 1):
                banks.setdefault(word % 32, set()).add(word)
        passes += max(map(len, banks.values()), default=0)
    return passes


@lru_cache(maxsize=None)
def lines(addresses, width):
    """Passes of an access that the first-level cache answers: one for each of its lines of 128 bytes, in the parts of `wavefronts`."""
    lanes = 128 // width
    return sum(len({address // 128 for address in addresses[first:first + lanes]}) for first in range(0, len(addresses), lanes))


# An instruction of a trace as the pipes see it: clocks of its part's unit, clocks until its warp goes on, scoreboards, passes of the data pipe and
# their latency, bytes from L2.
Step = namedtuple('Step', 'pipe width stall write read wait passes latency bytes')
# Traces are long, and their steps few.
one_of_each = lru_cache(maxsize=None)(Step)


def step(instruction, addresses, from_l2):
    base, flags = instruction.base, instruction.flags
    pipe, passes, latency, from_key = pipe_of(base), 0, 0, 0
    if pipe == 'lsu':
        size = 16 if '128' in flags else 8 if '64' in flags else 4
        is_shared = base in ('LDS', 'STS', 'ATOMS')
        latency = SHARED_LATENCY if is_shared else L1_LATENCY
        if is_shared and addresses:
            # The same for all addresses moved by whole words.
            start = addresses[0] & ~3
            passes = wavefronts(tuple([address - start for address in addresses]), size)
        elif addresses:
            start = addresses[0] & ~127
            passes = lines(tuple([address - start for address in addresses]), size)
        else:
            passes = size // 4
        from_key = size * len(addresses) if from_l2 else 0
    stall = max(instruction.stall, BRANCH_LATENCY) if base == 'BRA' else instruction.stall
    return one_of_each(pipe, WIDTHS.get(pipe, 0), stall, instruction.write, instruction.read, instruction.wait, passes, latency, from_key)


def busy(block):
    """Clocks of the multiprocessor in which each pipe is busy for one pass over a block's traces."""
    clocks = Counter()
    for one, number in Counter(one for trace in block for iteration in trace for one in iteration).items():
        clocks['issue'] += number / PARTS
        if one.width:
            clocks[one.pipe] += number * one.width / PARTS
        clocks['shared'] += number * one.passes
        clocks['l2'] += number * one.bytes / L2_BYTES_A_CLOCK
    return clocks


def simulate(block, blocks, stagger, wanted):
    """Clocks at which each of so many blocks ends its iterations; a block starts `stagger` clocks after the one before.

    A trace is a warp's iterations, each a list of steps; warps run them again and again until every block has ended `wanted` iterations, so that
    all blocks are at work all the time.
    """
    members = [range(first, first + len(block)) for first in range(0, blocks * len(block), len(block))]
    warps = blocks * len(block)
    steps, ends = [], []
    for trace in block:
        steps.append([one for iteration in trace for one in iteration])
        ends.append({sum(map(len, trace[:at + 1])) for at in range(len(trace))})
    steps, ends = steps * blocks, ends * blocks
    # Warps of a part, for each warp in the order in which they are asked after it was last to go: it first.
    orders = [[warp, *(other for other in range(warp % PARTS, warps, PARTS) if other != warp)] for warp in range(warps)]
    last = list(range(PARTS))
    at, ready = [0] * warps, [stagger * (warp // len(block)) for warp in range(warps)]
    # Accesses under way by scoreboard, and the boards that have any.
    board, pending = [[0] * BOARDS for _ in range(warps)], [0] * warps
    arrived = [False] * warps
    free = [dict.fromkeys([*WIDTHS, None, 'lsu', 'constant', 'barrier'], 0) for _ in range(PARTS)]
    queues = [deque() for _ in range(PARTS)]
    # When a part can issue again at the earliest, unless an event comes before.
    look = [0 if part < warps else NEVER for part in range(PARTS)]
    events, marks, counted = [], [[] for _ in members], [0] * blocks
    clock, pipe_free, l2_free, turn, unfinished = 0, 0, 0.0, 0, blocks

    while unfinished:
        while events and events[0][0] <= clock:
            _, warp, number = heapq.heappop(events)
            board[warp][number] -= 1
            if not board[warp][number]:
                pending[warp] &= ~(1 << number)
                look[warp % PARTS] = clock
        if pipe_free <= clock:
            for offset in range(PARTS):
                part = (turn + offset) % PARTS
                if queues[part]:
                    warp, one = queues[part].popleft()
                    turn += offset + 1
                    look[part] = clock
                    pipe_free = clock + one.passes
                    done = pipe_free + one.latency
                    if one.bytes:
                        l2_free = max(l2_free, clock) + one.bytes / L2_BYTES_A_CLOCK
                        done = max(clock, int(l2_free)) + L2_LATENCY
                    if one.read < BOARDS:
                        heapq.heappush(events, (pipe_free + 6, warp, one.read))
                    if one.write < BOARDS:
                        heapq.heappush(events, (done, warp, one.write))
                    break
        for part in range(PARTS):
            if look[part] > clock:
                continue
            soonest, part_free, queue = NEVER, free[part], queues[part]
            for warp in orders[last[part]]:
                if ready[warp] > clock:
                    soonest = min(soonest, ready[warp])
                    continue
                pipe, width, stall, write, read, wait, _, _, _ = one = steps[warp][at[warp]]
                if arrived[warp] or wait & pending[warp]:
                    continue
                if part_free[pipe] > clock:
                    soonest = min(soonest, part_free[pipe])
                    continue
                if pipe != 'lsu' or len(queue) < QUEUE:
                    break
            else:
                look[part] = soonest
                continue
            look[part], last[part] = clock + 1, warp
            ready[warp] = clock + stall
            if pipe is not None:
                for number in (write, read):
                    if number < BOARDS:
                        board[warp][number] += 1
                        pending[warp] |= 1 << number
                if pipe == 'lsu':
                    queue.append((warp, one))
                else:
                    if width:
                        part_free[pipe] = clock + width
                    if read < BOARDS:
                        heapq.heappush(events, (clock + OPERANDS_READ, warp, read))
                    if write < BOARDS:
                        latency = width + CONVERSION_LATENCY if width else CONSTANT_LATENCY
                        heapq.heappush(events, (clock + latency, warp, write))
            at[warp] += 1
            number = warp // len(block)
            if pipe == 'barrier':
                arrived[warp] = True
                if all(arrived[other] for other in members[number]):
                    for other in members[number]:
                        arrived[other] = False
                        ready[other] = max(ready[other], clock + BARRIER_LATENCY)
                        look[other % PARTS] = min(look[other % PARTS], clock + 1)
            if at[warp] in ends[warp]:
                counted[number] += 1
                if counted[number] % len(block) == 0:
                    marks[number].append(clock)
                    unfinished -= len(marks[number]) == wanted
                if at[warp] == len(steps[warp]):
                    at[warp] = 0
        waiting = [pipe_free] if any(queues) else []
        soonest = min(*look, events[0][0] if events else NEVER, *waiting)
        if soonest == NEVER:
            raise RuntimeError('no warp can go on: a scoreboard is never released')
        clock = max(clock + 1, soonest)
    return marks
