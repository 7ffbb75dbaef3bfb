"""Writes a network of dense layers as ONNX, with nothing but numpy.

The file has opset 17, float32 weights, an input `pixels` [N, inputs] and an output `logits` [N, classes]. Field numbers are
those of onnx.proto (ONNX 1.17); a message is a sequence of fields, each a tag, for bytes a length, and the value.
"""

import numpy as np

FLOAT = 1
INT64 = 7
ATTRIBUTE_INT = 2


def varint(value):
    """A number in groups of seven bits, the low ones first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, *parts):
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def tensor(field, name, array):
    """A TensorProto with little-endian raw data."""
    array = np.asarray(array, dtype="<f4")
    shape = b"".join(number(1, length) for length in array.shape)
    return message(field, shape, number(2, FLOAT), message(8, name), message(9, array.tobytes()))


def value(field, name, columns):
    """A ValueInfoProto of shape [N, columns]."""
    shape = message(2, message(1, message(2, "N")), message(1, number(1, columns)))
    return message(field, message(1, name), message(2, message(1, number(1, FLOAT), shape)))


def node(operator, inputs, output, *attributes):
    names = b"".join(message(1, name) for name in inputs)
    return message(1, names, message(2, output), message(3, output), message(4, operator), *attributes)


def gemm(inputs, output):
    transposed = message(5, message(1, "transB"), number(3, 1), number(20, ATTRIBUTE_INT))
    return node("Gemm", inputs, output, transposed)


def dense_network(layers, activation, normalise=None):
    """The bytes of an ONNX file.

    `layers` are pairs of a weight [outputs, inputs] and a bias [outputs]; `activation` is "relu" or "square" and stands
    between them; `normalise` is what is subtracted from each pixel, and what the difference is divided by.
    """
    nodes, weights, current = [], [], "pixels"
    if normalise is not None:
        for operator, name, constant in zip(("Sub", "Div"), ("mean", "deviation"), normalise):
            weights.append(tensor(5, name, np.float32(constant)))
            nodes.append(node(operator, [current, name], f"less_{name}" if operator == "Sub" else "normalised"))
            current = "less_mean" if operator == "Sub" else "normalised"
    for at, (weight, bias) in enumerate(layers, 1):
        is_last = at == len(layers)
        weights += [tensor(5, f"fc{at}.weight", weight), tensor(5, f"fc{at}.bias", bias)]
        output = "logits" if is_last else f"fc{at}"
        nodes.append(gemm([current, f"fc{at}.weight", f"fc{at}.bias"], output))
        if not is_last:
            applied = ("Relu", [output]) if activation == "relu" else ("Mul", [output, output])
            nodes.append(node(*applied, f"{output}.{activation}"))
            output = f"{output}.{activation}"
        current = output
    inputs, classes = layers[0][0].shape[1], layers[-1][0].shape[0]
    graph = message(
        7, *nodes, message(2, "mnist"), *weights, value(11, "pixels", inputs), value(12, "logits", classes)
    )
    return number(1, 8) + message(2, "heman fhe_benchmark") + graph + message(8, number(2, 17))
