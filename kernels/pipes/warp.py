"""Runs a warp through disassembled sm_90 code as far as integers go: which way its branches turn, and which addresses it touches.

Registers hold one integer for all lanes, a list of 32, or None where the value is not known (everything that comes out of floating point or
memory). Lanes that diverge meet again because those with the lowest address go first.
"""

import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache

LANES = 32
MEMORY = set('LDS STS LDG STG LDL STL ATOMS'.split())
WORD = 0xFFFFFFFF
ALL = (1 << LANES) - 1

# What the launch gives: kernel parameters begin here in constant bank 0 (CUDA 12 and later), block dimension and stack stand before them.
PARAMETERS = 0x210
BLOCK_DIMENSION = 0x0
STACK = 0x28


@dataclass
class Instruction:
    address: int
    opcode: str
    operands: list
    predicate: str
    # Control word: cycles to the next instruction, scoreboards that it sets for its result and for its operands, those that it waits for.
    stall: int
    write: int
    read: int
    wait: int
    base: str = field(init=False)
    flags: set = field(init=False)
    # What executes it, if it is one of the integers'.
    function: str = field(init=False)

    def __post_init__(self):
        self.base, *flags = self.opcode.split('.')
        self.operands = [operand.replace('[RZ]', '[0x0]') for operand in self.operands]
        self.flags = set(flags)
        self.function = 'do_' + (self.base if self.base == 'UP2UR' else self.base.removeprefix('U')).lower()


FIRST_LINE = re.compile(r'/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P\w+)\s+)?(\S+)\s*(.*?)\s*;\s+/\* 0x[0-9a-f]{16} \*/')
SECOND_LINE = re.compile(r'^\s+/\* 0x([0-9a-f]{16}) \*/')


def disassembly(text):
    """Instructions of one kernel as `cuobjdump -sass` prints them, on two lines each."""
    code, pending = [], None
    for line in text.splitlines():
        if match := FIRST_LINE.search(line):
            pending = match
        elif pending and (match := SECOND_LINE.match(line)):
            # The upper word's bits 41 to 58.
            control = int(match.group(1), 16) >> 41
            address, predicate, opcode, operands = pending.groups()
            operands = [operand.replace('.reuse', '').strip() for operand in operands.split(',')] if operands else []
            code.append(Instruction(int(address, 16), opcode, operands, predicate or '', max(control & 15, 1), control >> 5 & 7,
                                    control >> 8 & 7, control >> 11 & 63))
            pending = None
    return code


def each(function, *values):
    """The function lane by lane; not known if a value is not."""
    if None in values:
        return None
    if list not in map(type, values):
        return function(*values)
    return list(map(function, *[value if type(value) is list else [value] * LANES for value in values]))


def signed(value):
    return value - (1 << 32) if value >> 31 else value


@lru_cache(maxsize=None)
def parsed(text):
    """An operand's kind, sign, and its number or name; names that nothing stands for have no value."""
    if match := re.fullmatch(r'c\[0x0\]\[(0x[0-9a-f]+)\]', text):
        return 'constant', '', int(match.group(1), 16)
    if match := re.fullmatch(r'(-?)(0x[0-9a-f]+)', text):
        return 'number', '', int(match.group(1) + match.group(2), 16) & WORD
    match = re.fullmatch(r'([-~]?)(U?R(?:Z|\d+)|SR\w+(?:\.\w+)?|SRZ)', text)
    return ('register', *match.groups()) if match else ('register', '', '')


@lru_cache(maxsize=None)
def parts_of_address(text):
    parts = re.search(r'\[([^][]*)\]$', text).group(1).replace('+-', '+ -').split('+')
    return [part for part in (re.sub(r'\.(64|U32|X\d+)', '', part.strip()) for part in parts) if part]


@lru_cache(maxsize=None)
def following(register):
    """The register after one, which holds the upper half of a pair."""
    return re.sub(r'\d+', lambda number: str(int(number.group()) + 1), register)


@lru_cache(maxsize=None)
def is_match(pattern, text):
    return re.fullmatch(pattern, text) is not None


@lru_cache(maxsize=None)
def lookup(table):
    """The bitwise function of three words that a table of eight bits stands for."""
    rows = [row for row in range(8) if table >> row & 1]
    terms = [' & '.join(name if row & bit else '~' + name for name, bit in (('a', 4), ('b', 2), ('c', 1))) for row in rows]
    return eval(f'lambda a, b, c: ({" | ".join(terms) or 0}) & {WORD}')


COMPARE = {'LT': int.__lt__, 'LE': int.__le__, 'GT': int.__gt__, 'GE': int.__ge__, 'EQ': int.__eq__, 'NE': int.__ne__}


class Warp:
    def __init__(self, code, constants, first_thread, exponents):
        """`constants` are words of bank 0 by offset, `exponents` gives what 16-bit loads from shared memory find."""
        self.code, self.constants, self.exponents = code, constants, exponents
        self.values = {'RZ': 0, 'URZ': 0, 'PT': 1, 'UPT': 1, 'SRZ': 0, 'SR_CTAID.X': 0, 'SR_CgaCtaId': 0,
                       'SR_TID.X': [first_thread + lane for lane in range(LANES)]}
        self.stack, self.is_strict = {}, False
        self.index = {instruction.address: at for at, instruction in enumerate(code)}

    def run(self):
        """Yields every instruction issued, with its lanes' addresses where it touches memory (None where they are not known)."""
        groups = {0: ALL}
        while groups:
            at = min(groups)
            lanes = groups.pop(at)
            instruction = self.code[at]
            taken = lanes if not instruction.predicate else lanes & self.mask(instruction)
            base, goes_on = instruction.base, lanes
            addresses = None
            if base == 'BRA':
                goes_on = lanes & ~taken
                target = self.index[int(instruction.operands[-1], 16)]
                if taken:
                    groups[target] = groups.get(target, 0) | taken
            elif base == 'EXIT':
                goes_on = lanes & ~taken
            elif taken:
                addresses = self.execute(instruction, taken)
            yield instruction, taken, addresses
            if goes_on:
                groups[at + 1] = groups.get(at + 1, 0) | goes_on

    def mask(self, instruction):
        value = self.predicate(instruction.predicate)
        if value is None:
            # Before the loop waits for atomics turn on memory: they go the straight way.
            if instruction.base == 'BRA' and self.is_strict:
                raise RuntimeError(f'a branch that is not known at {instruction.address:#x}')
            return 0 if instruction.base == 'BRA' else ALL
        if isinstance(value, int):
            return ALL if value else 0
        return sum(1 << lane for lane, bit in enumerate(value) if bit)

    def predicate(self, name):
        value = self.values.get(name.lstrip('!'))
        return each(lambda bit: 1 - bit, value) if name.startswith('!') else value

    def source(self, text):
        kind, sign, what = parsed(text)
        if kind == 'constant':
            return self.constants.get(what)
        if kind == 'number':
            return what
        value = self.values.get(what)
        if sign == '-':
            return each(lambda word: -word & WORD, value)
        return each(lambda word: ~word & WORD, value) if sign else value

    def pair(self, text):
        """A 64-bit source, of which only registers and zero occur."""
        if text in ('RZ', 'URZ'):
            return 0
        high = following(text)
        return each(lambda low, high: low | high << 32, self.source(text), self.source(high))

    def write(self, name, value, lanes):
        if name in ('RZ', 'URZ', 'PT', 'UPT'):
            return
        if lanes != ALL:
            if value is not None:
                # What was not known becomes zero in the other lanes: they have no use for it.
                old = self.values.get(name) or 0
                old = old if isinstance(old, list) else [old] * LANES
                new = value if isinstance(value, list) else [value] * LANES
                value = [n if lanes >> lane & 1 else o for lane, (o, n) in enumerate(zip(old, new))]
        self.values[name] = value

    def write_pair(self, name, value, lanes):
        self.write(name, each(lambda word: word & WORD, value), lanes)
        self.write(following(name), each(lambda word: word >> 32 & WORD, value), lanes)

    def address(self, text):
        """Of `[R1+UR4+0x10]`; a 64-bit base counts with its low word, which tells the buffers of a launch apart."""
        total = 0
        for part in parts_of_address(text):
            total = each(lambda a, b: a + b & WORD, total, self.source(part))
        return total

    def execute(self, instruction, lanes):
        base, operands = instruction.base, instruction.operands
        if base in MEMORY:
            return self.touch(instruction, lanes)
        function = getattr(self, instruction.function, None)
        if function:
            function(instruction.flags, list(operands), lanes)
        elif operands and is_match(r'U?[RP]\d+', operands[0]):
            # Doubles, conversions: two registers that nobody knows.
            self.write(operands[0], None, lanes)
            if operands[0][0] == 'R':
                self.write(following(operands[0]), None, lanes)
        return None

    def touch(self, instruction, lanes):
        base, operands = instruction.base, instruction.operands
        place = next(operand for operand in operands if operand.endswith(']'))
        address = self.address(place)
        words = 4 if '128' in instruction.flags else 2 if '64' in instruction.flags else 1
        register = operands[1 if base[0] == 'S' else 0]
        for word in range(words):
            register = following(register) if word else register
            if base == 'STL':
                self.stack[address + 4 * word] = self.source(register)
            elif base == 'LDL':
                self.write(register, self.stack.get(address + 4 * word), lanes)
            elif base[0] in 'LA':
                self.write(register, each(self.exponents, address) if 'U16' in instruction.flags else None, lanes)
        if base in ('LDL', 'STL') or address is None:
            return None
        every = address if isinstance(address, list) else [address] * LANES
        return [every[lane] for lane in range(LANES) if lanes >> lane & 1]

    # Integer instructions, those of the uniform datapath by the same names without U.

    def do_mov(self, flags, operands, lanes):
        self.write(operands[0], self.source(operands[1]), lanes)

    do_s2r = do_s2ur = do_r2ur = do_mov

    def do_2ur(self, flags, operands, lanes):
        self.write(operands[0], None, lanes)

    def do_cs2r(self, flags, operands, lanes):
        (self.write if '32' in flags else self.write_pair)(operands[0], self.source(operands[1]), lanes)

    def do_ldc(self, flags, operands, lanes):
        offset = re.fullmatch(r'c\[0x0\]\[(0x[0-9a-f]+)\]', operands[1])
        words = [self.constants.get(int(offset.group(1), 16) + 4 * at) if offset else None for at in range(2)]
        if '64' in flags:
            self.write_pair(operands[0], None if None in words else words[0] | words[1] << 32, lanes)
        else:
            self.write(operands[0], words[0], lanes)

    def do_hfma2(self, flags, operands, lanes):
        # The compiler's way to load two halves: zero times zero plus a constant.
        halves = [struct.unpack('<H', struct.pack('<e', float(text)))[0] for text in operands[-2:]]
        self.write(operands[0], halves[1] | halves[0] << 16 if operands[1].endswith('RZ') else None, lanes)

    def do_imad(self, flags, operands, lanes):
        if 'X' in flags:
            return self.write(operands[0], None, lanes)
        if operands[1].startswith('P'):
            self.write(operands.pop(1), None, lanes)
        a, b = self.source(operands[1]), self.source(operands[2])
        if 'WIDE' in flags:
            if 'U32' not in flags:
                a, b = each(signed, a), each(signed, b)
            c = self.pair(operands[3])
            wide = each(lambda a, b, c: a * b + c & (1 << 64) - 1, a, b, c)
            if wide is None and None not in (a, b) and (low := self.source(operands[3])) is not None:
                self.write(operands[0], each(lambda a, b, c: a * b + c & WORD, a, b, low), lanes)
                return self.write(following(operands[0]), None, lanes)
            return self.write_pair(operands[0], wide, lanes)
        if 'HI' in flags:
            return self.write(operands[0], each(lambda a, b, c: (a * b >> 32) + c & WORD, a, b, self.source(operands[3])), lanes)
        self.write(operands[0], each(lambda a, b, c: a * b + c & WORD, a, b, self.source(operands[3])), lanes)

    def do_iadd3(self, flags, operands, lanes):
        sources = [operand for operand in operands[1:] if not is_match(r'!?U?P(T|\d)', operand)]
        for operand in operands[1:]:
            if 'X' not in flags and is_match(r'U?P\d', operand):
                self.write(operand, None, lanes)
        total = None if 'X' in flags else each(lambda a, b, c: a + b + c & WORD, *map(self.source, sources))
        self.write(operands[0], total, lanes)

    def do_viadd(self, flags, operands, lanes):
        self.write(operands[0], each(lambda a, b: a + b & WORD, *map(self.source, operands[1:3])), lanes)

    def do_lea(self, flags, operands, lanes):
        sources = [operand for operand in operands[1:] if not is_match(r'!?U?P(T|\d)', operand)]
        if 'X' in flags or 'SX32' in flags:
            return self.write(operands[0], None, lanes)
        if 'HI' in flags:
            high = lambda a, b, c, s: ((c << 32 | a) << s >> 32) + b & WORD
            return self.write(operands[0], each(high, *map(self.source, sources[:4])), lanes)
        for operand in operands[1:]:
            if is_match(r'U?P\d', operand):
                self.write(operand, None, lanes)
        self.write(operands[0], each(lambda a, b, s: (a << s) + b & WORD, *map(self.source, sources[:3])), lanes)

    def do_lop3(self, flags, operands, lanes):
        predicate = operands.pop(0) if re.fullmatch(r'U?P(T|\d)', operands[0]) else None
        result = each(lookup(int(operands[4], 16)), *map(self.source, operands[1:4]))
        self.write(operands[0], result, lanes)
        if predicate:
            self.write(predicate, each(lambda word: int(word != 0), result), lanes)

    def do_shf(self, flags, operands, lanes):
        low, count, high = map(self.source, operands[1:4])
        part = 32 if 'HI' in flags else 0
        if 'U64' in flags or 'S64' in flags:
            result = None
        elif 'S32' in flags:
            result = each(lambda word, by: signed(word) >> min(by, 31) & WORD, high, count)
        elif 'R' in flags:
            result = each(lambda low, by, high: (high << 32 | low) >> by >> part & WORD, low, count, high)
        else:
            result = each(lambda low, by, high: (high << 32 | low) << by >> part & WORD, low, count, high)
        self.write(operands[0], result, lanes)

    def do_prmt(self, flags, operands, lanes):
        def permute(a, selector, b):
            source = (b << 32 | a).to_bytes(8, 'little')
            return int.from_bytes(bytes(source[selector >> 4 * at & 7] for at in range(4)), 'little')
        result = each(permute, *map(self.source, operands[1:4]))
        self.write(operands[0], None if flags - {'U32'} else result, lanes)

    def do_vimnmx(self, flags, operands, lanes):
        order = (lambda word: word) if 'U32' in flags else signed
        least = operands[3] == 'PT'
        pick = lambda a, b: (min if least else max)(a, b, key=order)
        self.write(operands[0], each(pick, *map(self.source, operands[1:3])), lanes)

    def do_viaddmnmx(self, flags, operands, lanes):
        total = each(lambda a, b: a + b & WORD, *map(self.source, operands[1:3]))
        self.write(operands[0], each(min if operands[4] == 'PT' else max, total, self.source(operands[3])), lanes)

    def do_isetp(self, flags, operands, lanes):
        a, b = map(self.source, operands[2:4])
        if 'U32' not in flags:
            a, b = each(signed, a), each(signed, b)
        compare = COMPARE[next(flag for flag in flags if flag in COMPARE)]
        result = None if 'EX' in flags else each(lambda a, b: int(compare(a, b)), a, b)
        join = int.__or__ if 'OR' in flags else int.__and__
        self.write(operands[0], each(join, result, self.predicate(operands[4])), lanes)
        self.write(operands[1], None, lanes)

    def do_plop3(self, flags, operands, lanes):
        table = int(operands[5], 16)
        bits = [self.predicate(operand) for operand in operands[2:5]]
        self.write(operands[0], each(lambda a, b, c: table >> (a << 2 | b << 1 | c) & 1, *bits), lanes)
        self.write(operands[1], None, lanes)

    def do_sel(self, flags, operands, lanes):
        bits = self.predicate(operands[3])
        self.write(operands[0], each(lambda a, b, p: a if p else b, *map(self.source, operands[1:3]), bits), lanes)

    def do_brev(self, flags, operands, lanes):
        self.write(operands[0], each(lambda word: int(f'{word:032b}'[::-1], 2), self.source(operands[1])), lanes)

    # Divisions by a number that the compiler does not know go by a reciprocal in single precision.

    def do_i2f(self, flags, operands, lanes):
        self.write_single(flags, operands, lanes, lambda word: bits_of(float(word)), 'U32' in flags)

    def do_mufu(self, flags, operands, lanes):
        self.write_single(flags, operands, lanes, lambda word: bits_of(1 / max(single(word), 1e-30)), 'RCP' in flags)

    def do_f2i(self, flags, operands, lanes):
        self.write_single(flags, operands, lanes, lambda word: int(single(word)) & WORD, 'FTZ' in flags)

    def write_single(self, flags, operands, lanes, function, is_single):
        """The result of a single-precision instruction; of any other nobody knows its two registers."""
        if is_single:
            self.write(operands[0], each(function, self.source(operands[1])), lanes)
        else:
            self.write_pair(operands[0], None, lanes)


def single(word):
    return struct.unpack('<f', struct.pack('<I', word))[0]


def bits_of(value):
    return struct.unpack('<I', struct.pack('<f', value))[0]
