"""Trains the demo model on scikit-learn's handwritten digits and writes it as ONNX, in plain numpy.

Writes digits.onnx, calibration.npz and samples.npz beside this file and prints the accuracy. Every activation costs one
bootstrap under encryption, so the network is small: Conv 8@3x3 - ReLU (288) - AveragePool 2 - Gemm 32 - ReLU (32) - Gemm 10.
"""

import io
import os
import zipfile
from pathlib import Path

# One thread and one kernel fix the order of sums: rounding differences would otherwise grow over the training steps.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OPENBLAS_CORETYPE"] = "Haswell"

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED = 20240501
CLASSES = 10
CHANNELS = 8
HIDDEN = 32
POOLED = CHANNELS * 3 * 3
EPOCHS = 300
BATCH = 32
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 3e-2
CALIBRATION_IMAGES = 200
SAMPLE_IMAGES = 48


def load_split():
    """Images [n, 1, 8, 8] in 0..1 and labels, split 80:20 with equal shares of each class."""
    data = load_digits()
    images = (data.images / 16.0)[:, np.newaxis]
    labels = data.target.astype(np.int64)
    return train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)


def initial_weights(rng):
    """He's initialisation; layouts are those of the ONNX operators."""

    def he(shape, fan_in):
        return rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)

    return {
        "conv.weight": he((CHANNELS, 1, 3, 3), 9),
        "conv.bias": np.zeros(CHANNELS),
        "dense.weight": he((HIDDEN, POOLED), POOLED),
        "dense.bias": np.zeros(HIDDEN),
        "logits.weight": he((CLASSES, HIDDEN), HIDDEN),
        "logits.bias": np.zeros(CLASSES),
    }


def forward(weights, images):
    """Logits, and what the backward pass needs."""
    rows = len(images)
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    patches = np.ascontiguousarray(windows).reshape(rows * 36, 9)
    conv = patches @ weights["conv.weight"].reshape(CHANNELS, 9).T + weights["conv.bias"]
    # Axes of the pooling view: image, row pair, row in pair, column pair, column in pair, channel.
    pooled = np.maximum(conv, 0.0).reshape(rows, 3, 2, 3, 2, CHANNELS).mean(axis=(2, 4))
    flat = pooled.transpose(0, 3, 1, 2).reshape(rows, POOLED)
    dense = flat @ weights["dense.weight"].T + weights["dense.bias"]
    hidden = np.maximum(dense, 0.0)
    logits = hidden @ weights["logits.weight"].T + weights["logits.bias"]
    return logits, (patches, conv, flat, dense, hidden)


def gradients(weights, images, labels):
    """Gradients of the mean cross-entropy."""
    rows = len(images)
    logits, (patches, conv, flat, dense, hidden) = forward(weights, images)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    share[np.arange(rows), labels] -= 1.0
    d_logits = share / rows
    d_dense = (d_logits @ weights["logits.weight"]) * (dense > 0)
    d_pooled = (d_dense @ weights["dense.weight"]).reshape(rows, CHANNELS, 3, 3).transpose(0, 2, 3, 1)
    d_conv = np.broadcast_to(d_pooled[:, :, np.newaxis, :, np.newaxis] / 4.0, (rows, 3, 2, 3, 2, CHANNELS))
    d_conv = d_conv.reshape(rows * 36, CHANNELS) * (conv > 0)
    return {
        "conv.weight": (d_conv.T @ patches).reshape(CHANNELS, 1, 3, 3),
        "conv.bias": d_conv.sum(axis=0),
        "dense.weight": d_dense.T @ flat,
        "dense.bias": d_dense.sum(axis=0),
        "logits.weight": d_logits.T @ hidden,
        "logits.bias": d_logits.sum(axis=0),
    }


def shifted(rng, images):
    """Each image moved by -1, 0 or 1 pixel in both directions, zeros moving in."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    # Index 1 is no move, the usual case: a digit fills most of its eight pixels.
    offsets = rng.choice(3, size=(len(images), 2), p=(0.15, 0.7, 0.15))
    return np.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, offsets)])


def train(images, labels):
    """AdamW with a cosine schedule; weight decay on weights, not on biases."""
    rng = np.random.default_rng(SEED)
    weights = initial_weights(rng)
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    steps = EPOCHS * (len(images) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))[: len(images) // BATCH * BATCH]
        for batch in order.reshape(-1, BATCH):
            rate = LEARNING_RATE * 0.5 * (1.0 + np.cos(np.pi * step / steps))
            step += 1
            for name, slope in gradients(weights, shifted(rng, images[batch]), labels[batch]).items():
                mean[name] += 0.1 * (slope - mean[name])
                square[name] += 0.001 * (slope * slope - square[name])
                update = (mean[name] / (1.0 - 0.9**step)) / (np.sqrt(square[name] / (1.0 - 0.999**step)) + 1e-8)
                decay = WEIGHT_DECAY if name.endswith("weight") else 0.0
                weights[name] -= rate * (update + decay * weights[name])
    return weights


def to_onnx(weights):
    """The model with float32 weights and a symbolic batch axis N."""
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], "conv", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv"], ["conv_relu"], "conv_relu"),
        helper.make_node("AveragePool", ["conv_relu"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", "dense.weight", "dense.bias"], ["dense"], "dense", transB=1),
        helper.make_node("Relu", ["dense"], ["dense_relu"], "dense_relu"),
        helper.make_node("Gemm", ["dense_relu", "logits.weight", "logits.bias"], ["logits"], "logits", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="heman demo/train.py")
    onnx.checker.check_model(model, full_check=True)
    return model


def write_npz(path, **arrays):
    """np.savez_compressed, but with a fixed time stamp: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body.getvalue(), compresslevel=9)


def balanced_sample(rng, labels, count):
    """Indices of `count` images drawn at random, each class as often as any other or once more."""
    quota = np.full(CLASSES, count // CLASSES)
    quota[rng.permutation(CLASSES)[: count % CLASSES]] += 1
    drawn = [rng.choice(np.flatnonzero(labels == digit), quota[digit], replace=False) for digit in range(CLASSES)]
    return rng.permutation(np.concatenate(drawn))


def main():
    train_images, test_images, train_labels, test_labels = load_split()
    weights = train(train_images, train_labels)

    model = to_onnx(weights)
    (HERE / "digits.onnx").write_bytes(model.SerializeToString(deterministic=True))

    rng = np.random.default_rng(SEED + 1)
    calibration = rng.choice(len(train_images), CALIBRATION_IMAGES, replace=False)
    write_npz(HERE / "calibration.npz", images=train_images[calibration].astype(np.float32))
    sample = balanced_sample(rng, test_labels, SAMPLE_IMAGES)
    write_npz(HERE / "samples.npz", images=test_images[sample].astype(np.float32), labels=test_labels[sample])

    expected, _ = forward(weights, test_images)
    evaluator = ReferenceEvaluator(str(HERE / "digits.onnx"))
    (logits,) = evaluator.run(None, {"image": test_images.astype(np.float32)})
    difference = np.abs(logits - expected).max()
    if difference > 1e-4:
        raise SystemExit(f"digits.onnx differs from the trained network by {difference:.2e}")
    train_hits = (forward(weights, train_images)[0].argmax(axis=1) == train_labels).sum()
    hits = logits.argmax(axis=1) == test_labels
    print(f"activations        {CHANNELS * 6 * 6 + HIDDEN}")
    print(f"training accuracy  {train_hits}/{len(train_labels)} = {train_hits / len(train_labels):.2%}")
    print(f"test accuracy      {hits.sum()}/{len(hits)} = {hits.mean():.2%}")
    print(f"samples.npz        {hits[sample].sum()}/{SAMPLE_IMAGES}")
    print(f"ONNX against numpy {difference:.1e} at most")


if __name__ == "__main__":
    main()
