"""Times of SEAL's CKKS on one thread, for the side-by-side bench: `seal_ckks.py LOG2_N BITS,BITS,... REPETITIONS`.

Prints the medians of multiplication with relinearisation and of one rotation, in milliseconds. Needs the wheel `tenseal`, which carries
SEAL's own interface: `client/tests/seal/install` puts it into target/seal, for PYTHONPATH.
"""

import statistics
import sys
import time

import _sealapi_cpp as seal

log2_n, bits, repetitions = int(sys.argv[1]), [int(b) for b in sys.argv[2].split(",")], int(sys.argv[3])
parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
parameters.set_poly_modulus_degree(1 << log2_n)
parameters.set_coeff_modulus(seal.CoeffModulus.Create(1 << log2_n, bits))
context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
assert context.parameters_set(), "SEAL refuses the parameters"
keys = seal.KeyGenerator(context)
public, relinearise, galois = seal.PublicKey(), seal.RelinKeys(), seal.GaloisKeys()
keys.create_public_key(public)
keys.create_relin_keys(relinearise)
keys.create_galois_keys([3], galois)  # the automorphism of one step
encoder = seal.CKKSEncoder(context)
evaluator = seal.Evaluator(context)
plain, ciphertext = seal.Plaintext(), seal.Ciphertext()
encoder.encode([0.5 + i % 7 / 10 for i in range(1 << (log2_n - 1))], 2.0 ** min(bits[1:-1]), plain)
seal.Encryptor(context, public).encrypt(plain, ciphertext)


def median(run):
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def multiply():
    product = seal.Ciphertext()
    evaluator.multiply(ciphertext, ciphertext, product)
    evaluator.relinearize_inplace(product, relinearise)


def rotate():
    rotated = seal.Ciphertext()
    evaluator.rotate_vector(ciphertext, 1, galois, rotated)


print(median(multiply), median(rotate))
