"""Trains the squared-activation network on MNIST and writes it as ONNX, in plain numpy.

Run as `train.py FOLDER`, where FOLDER holds MNIST's four idx files. Writes ../submissions/mnist/models/squared.onnx and
../submissions/mnist/calibration.npz, and prints the accuracy. What the client does in the clear comes first: the middle
22 x 22 pixels are averaged in squares of 2 x 2. The network: 121 - dense 64 - x^2 - dense 10.
"""

import io
import os
import sys
import zipfile
from pathlib import Path

# One thread and one kernel fix the order of sums: rounding differences would otherwise grow over the training steps.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"

import numpy as np

SUBMISSION = Path(__file__).resolve().parent.parent / "submissions" / "mnist"
sys.path.insert(0, str(SUBMISSION))

from dense_onnx import dense_network

SEED = 1
SIDE, CROP, POOL = 28, 3, 2
POOLED = (SIDE - 2 * CROP) // POOL
INPUTS, HIDDEN, CLASSES = POOLED * POOLED, 64, 10
EPOCHS = 120
BATCH = 128
LEARNING_RATE = 4e-3
WARM_UP_STEPS = 500
WEIGHT_DECAY = 1e-2
LARGEST_GRADIENT = 1.0
AVERAGING = 2e-3
# Distortions: how strong, how many an epoch, and images of a batch that share one.
STRENGTH = 0.4
WARPS, SHARED = 48, 16
CALIBRATION_IMAGES = 3000


def idx(folder, name, offset):
    """The bytes of an idx file behind its head."""
    return np.frombuffer((folder / name).read_bytes(), np.uint8, offset=offset)


def images(folder, name):
    """Images [n, 784] in 0..1, rounded as the benchmark's text file has them."""
    pixels = idx(folder, f"{name}-images-idx3-ubyte", 16).reshape(-1, SIDE * SIDE)
    return np.round(pixels / 255.0, 6).astype(np.float32)


def labels(folder, name):
    return idx(folder, f"{name}-labels-idx1-ubyte", 8).astype(np.int64)


def prepared(maps):
    """What the client's cropping and averaging make of linear maps [784, 784] to images: [784, INPUTS]."""
    cropped = maps.reshape(-1, SIDE, SIDE)[:, CROP:-CROP, CROP:-CROP]
    squares = cropped.reshape(-1, POOLED, POOL, POOLED, POOL)
    return squares.mean(axis=(2, 4)).reshape(-1, INPUTS).astype(np.float32)


def bilinear(rows, columns):
    """The linear map [784, 784] that reads each pixel of an image at a place between four pixels of another."""
    taken = np.zeros((SIDE * SIDE, SIDE * SIDE), np.float32)
    first_row, first_column = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for row, column in ((first_row + y, first_column + x) for y in (0, 1) for x in (0, 1)):
        share = (1 - np.abs(rows - row)) * (1 - np.abs(columns - column))
        inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
        np.add.at(taken, ((row * SIDE + column)[inside], np.arange(SIDE * SIDE)[inside]), share[inside])
    return taken


def smooth(noise):
    """Noise [28, 28] under a Gaussian window of four pixels."""
    window = np.exp(-0.5 * (np.arange(-12, 13) / 4.0) ** 2)
    window /= window.sum()
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda line: np.convolve(line, window, "same"), axis, noise)
    return noise


def warp(rng):
    """A random rotation, scaling, shear, shift and bending of an image, as a linear map to the network's input."""
    turn, high, wide, shear, down, right = STRENGTH * rng.uniform(-1, 1, 6)
    angle, scale = 0.2 * turn, np.exp([0.1 * high, 0.1 * wide])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[scale[0], 0.15 * shear], [0.0, scale[1]]])
    centred = np.mgrid[0:SIDE, 0:SIDE].reshape(2, -1) - (SIDE - 1) / 2
    bent = [8.0 * STRENGTH * smooth(rng.standard_normal((SIDE, SIDE))).ravel() for _ in range(2)]
    rows, columns = linear @ centred + 1.2 * np.array([[down], [right]]) + np.array(bent) + (SIDE - 1) / 2
    return prepared(bilinear(rows, columns))


def logits_of(weights, inputs):
    first, first_bias, last, last_bias = weights
    hidden = inputs @ first + first_bias
    return hidden, (hidden * hidden) @ last + last_bias


def gradients(weights, inputs, right):
    """Gradients of the mean cross-entropy, cut to a length of LARGEST_GRADIENT together."""
    hidden, logits = logits_of(weights, inputs)
    slope = np.exp(logits - logits.max(axis=1, keepdims=True))
    slope /= slope.sum(axis=1, keepdims=True)
    slope[np.arange(len(right)), right] -= 1.0
    slope /= len(right)
    inner = (slope @ weights[2].T) * 2 * hidden
    slopes = [inputs.T @ inner, inner.sum(axis=0), (hidden * hidden).T @ slope, slope.sum(axis=0)]
    length = np.sqrt(sum(float((one * one).sum()) for one in slopes))
    return [one * np.float32(min(1.0, LARGEST_GRADIENT / (length + 1e-9))) for one in slopes]


def train(pixels, right):
    """AdamW with a cosine schedule, every image distorted anew; the result is an average over the last steps."""
    rng = np.random.default_rng(SEED)
    plain = pixels[:5000] @ prepared(np.eye(SIDE * SIDE, dtype=np.float32))
    length = np.sqrt((plain * plain).mean(axis=0).sum())
    weights = [
        (rng.standard_normal((INPUTS, HIDDEN)) / length).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        (0.5 * rng.standard_normal((HIDDEN, CLASSES)) / np.sqrt(HIDDEN)).astype(np.float32),
        np.zeros(CLASSES, np.float32),
    ]
    means, squares = ([np.zeros_like(value) for value in weights] for _ in range(2))
    average = [value.copy() for value in weights]
    batches = len(pixels) // BATCH
    step = 0
    for _ in range(EPOCHS):
        warps = [warp(rng) for _ in range(WARPS)]
        for batch in rng.permutation(len(pixels))[: batches * BATCH].reshape(-1, BATCH):
            rate = 0.5 * LEARNING_RATE * (1 + np.cos(np.pi * step / (EPOCHS * batches)))
            rate = np.float32(rate * min(1.0, (step + 1) / WARM_UP_STEPS))
            step += 1
            parts = batch.reshape(-1, SHARED)
            inputs = np.concatenate([pixels[part] @ warps[at] for part, at in zip(parts, rng.integers(WARPS, size=len(parts)))])
            for at, slope in enumerate(gradients(weights, inputs, right[batch])):
                means[at] += np.float32(0.1) * (slope - means[at])
                squares[at] += np.float32(0.001) * (slope * slope - squares[at])
                update = means[at] / np.float32(1 - 0.9**step)
                update /= np.sqrt(squares[at] / np.float32(1 - 0.999**step)) + np.float32(1e-8)
                if weights[at].ndim == 2:
                    update += np.float32(WEIGHT_DECAY) * weights[at]
                weights[at] -= rate * update
                average[at] += np.float32(AVERAGING) * (weights[at] - average[at])
    return average


def write_npz(path, **arrays):
    """np.savez_compressed, but with a fixed time stamp: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body.getvalue(), compresslevel=9)


def main():
    folder = Path(sys.argv[1])
    pixels, right = images(folder, "train"), labels(folder, "train")
    weights = train(pixels, right)
    layers = [(weights[0].T, weights[1]), (weights[2].T, weights[3])]
    (SUBMISSION / "models" / "squared.onnx").write_bytes(dense_network(layers, "square"))

    drawn = np.random.default_rng(SEED + 1).choice(len(pixels), CALIBRATION_IMAGES, replace=False)
    write_npz(SUBMISSION / "calibration.npz", images=np.round(255 * pixels[drawn]).astype(np.uint8))

    tested = images(folder, "t10k") @ prepared(np.eye(SIDE * SIDE, dtype=np.float32))
    hidden, logits = logits_of(weights, tested)
    hits = (logits.argmax(axis=1) == labels(folder, "t10k")).sum()
    print(f"test accuracy {hits}/{len(tested)} = {hits / len(tested):.2%}")
    print(f"largest values before squaring {np.abs(hidden).max():.1f}, of the logits {np.abs(logits).max():.1f}")


if __name__ == "__main__":
    main()
