"""Runs circuits in Microsoft SEAL, with keys made here: a description comes in on stdin, decrypted slots go out.

Lines of the description:

    ring LOG2_N BITS,BITS,... SCALE_LOG2   sizes of the primes, the special one last
    encrypted NAME RE IM RE IM ...         encrypted at the scale
    plain NAME RE IM RE IM ...             encoded when it is used
    circuit R = OPERATION ...; R = ...     prints RE IM RE IM ... of the last result
    coefficients NAME                      prints the integers that a plain vector is encoded to

Arguments of an operation are names, but for STEPS (to the left), LEVELS, ELEMENT and NUMBER:

    add A B, subtract A B, multiply A B, square A, rescale A, conjugate A, rotate A STEPS, drop A LEVELS,
    add_plain A P, multiply_plain A P, add_constant A NUMBER, automorphism A ELEMENT, matrix A STEPS P STEPS P ...
"""

import sys

import _sealapi_cpp as seal  # what tenseal.sealapi wraps; the package itself needs numpy


class Machine:
    def __init__(self, log2_n, bits, scale_log2):
        self.degree, self.scale = 1 << log2_n, 2.0**scale_log2
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(self.degree)
        primes = seal.CoeffModulus.Create(self.degree, bits)
        parameters.set_coeff_modulus(primes)
        self.first_prime = primes[0].value()
        self.context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        assert self.context.parameters_set(), self.context.parameters_error_message()
        self.keys = seal.KeyGenerator(self.context)
        public, self.relinearise = seal.PublicKey(), seal.RelinKeys()
        self.keys.create_public_key(public)
        self.keys.create_relin_keys(self.relinearise)
        self.encoder = seal.CKKSEncoder(self.context)
        self.encryptor = seal.Encryptor(self.context, public)
        self.decryptor = seal.Decryptor(self.context, self.keys.secret_key())
        self.evaluator = seal.Evaluator(self.context)
        self.galois = {}

    def galois_keys(self, element):
        if element not in self.galois:
            self.galois[element] = seal.GaloisKeys()
            self.keys.create_galois_keys([element], self.galois[element])
        return self.galois[element]

    def encode(self, values, parms_id, scale):
        plain = seal.Plaintext()
        if isinstance(values, list) and not any(value.imag for value in values):
            values = [value.real for value in values]
        self.encoder.encode(values, parms_id, scale, plain)
        return plain

    def encrypt(self, values, parms_id):
        ciphertext = seal.Ciphertext()
        self.encryptor.encrypt(self.encode(values, parms_id, self.scale), ciphertext)
        return ciphertext

    def decrypt(self, ciphertext):
        plain = seal.Plaintext()
        self.decryptor.decrypt(ciphertext, plain)
        return self.encoder.decode_complex(plain)

    def coefficients(self, values):
        """By the difference that adding the encoding makes to a ciphertext of one prime, taken out of NTT form by SEAL."""
        level = self.context.last_parms_id()
        before = self.encrypt(0.0, level)
        after = self.made(self.evaluator.add_plain, before, self.encode(values, level, self.scale))
        self.evaluator.transform_from_ntt_inplace(before)
        self.evaluator.transform_from_ntt_inplace(after)
        half = self.first_prime // 2
        return [(after[i] - before[i] + half) % self.first_prime - half for i in range(self.degree)]

    @staticmethod
    def made(operation, *arguments):
        result = seal.Ciphertext()
        operation(*arguments, result)
        return result

    def add(self, a, b):
        return self.made(self.evaluator.add, a, b)

    def subtract(self, a, b):
        return self.made(self.evaluator.sub, a, b)

    def multiply(self, a, b):
        return self.made(self.evaluator.relinearize, self.made(self.evaluator.multiply, a, b), self.relinearise)

    def square(self, a):
        return self.made(self.evaluator.relinearize, self.made(self.evaluator.square, a), self.relinearise)

    def rescale(self, a):
        return self.made(self.evaluator.rescale_to_next, a)

    def drop(self, a, levels):
        for _ in range(int(levels)):
            a = self.made(self.evaluator.mod_switch_to_next, a)
        return a

    def conjugate(self, a):
        return self.made(self.evaluator.complex_conjugate, a, self.galois_keys(2 * self.degree - 1))

    def rotate(self, a, steps):
        steps = int(steps)
        # One step is the automorphism X -> X^3 here.
        keys = self.galois_keys(pow(3, steps, 2 * self.degree))
        return self.made(self.evaluator.rotate_vector, a, steps, keys)

    def automorphism(self, a, element):
        return self.made(self.evaluator.apply_galois, a, int(element), self.galois_keys(int(element)))

    def add_plain(self, a, values):
        return self.made(self.evaluator.add_plain, a, self.encode(values, a.parms_id(), a.scale))

    def add_constant(self, a, number):
        return self.made(self.evaluator.add_plain, a, self.encode(float(number), a.parms_id(), a.scale))

    def multiply_plain(self, a, values):
        return self.made(self.evaluator.multiply_plain, a, self.encode(values, a.parms_id(), self.scale))

    def matrix(self, a, *diagonals):
        total = None
        for steps, values in zip(diagonals[::2], diagonals[1::2]):
            rotated = self.rotate(a, steps) if int(steps) else a
            term = self.multiply_plain(rotated, values)
            total = term if total is None else self.add(total, term)
        return total


def main():
    machine, names = None, {}
    for line in sys.stdin.read().splitlines():
        kind, *words = line.split()
        if kind == "ring":
            machine = Machine(int(words[0]), [int(b) for b in words[1].split(",")], float(words[2]))
        elif kind in ("encrypted", "plain"):
            numbers = [float(word) for word in words[1:]]
            values = [complex(*pair) for pair in zip(numbers[::2], numbers[1::2])]
            first = machine.context.first_parms_id()
            names[words[0]] = machine.encrypt(values, first) if kind == "encrypted" else values
        elif kind == "circuit":
            for instruction in " ".join(words).split("; "):
                target, _, operation, *arguments = instruction.split()
                arguments = [names.get(argument, argument) for argument in arguments]
                names[target] = getattr(machine, operation)(*arguments)
            print(*(number for slot in machine.decrypt(names[target]) for number in (slot.real, slot.imag)))
        elif kind == "coefficients":
            print(*machine.coefficients(names[words[0]]))
        else:
            sys.exit(f"no such line: {kind}")


main()
