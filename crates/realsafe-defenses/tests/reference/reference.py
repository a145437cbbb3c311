"""Numbers that the defenses' tests compare with, from PyTorch, SciPy, Pillow's libjpeg and plain NumPy: writes reference.json.

Needs numpy, scipy, torch and pillow. Run it in this folder.
"""

import io
import itertools
import json

import numpy
import torch
from PIL import Image
from scipy.ndimage import median_filter
from scipy.optimize import minimize


def pattern(*shape):
    """The images of the tests: values from 0 to 1 in a fixed order."""
    return (numpy.arange(numpy.prod(shape)) * 37 % 101 / 100).astype(numpy.float32).reshape(shape)


def interpolated(images, size, mode):
    align = {} if mode == "nearest" else {"align_corners": False}
    return torch.nn.functional.interpolate(torch.from_numpy(images), size, mode=mode, **align).numpy()


def minimised(plane, kept, strength):
    """The image with the least squared distance from kept pixels plus strength times total variation, as a quadratic program.

    The variables are the pixels, and bounds of the differences of neighbours.
    """
    height, width = plane.shape
    places = numpy.arange(plane.size).reshape(plane.shape)
    pairs = numpy.concatenate([
        numpy.stack([places[:, :-1], places[:, 1:]]).reshape(2, -1),
        numpy.stack([places[:-1], places[1:]]).reshape(2, -1),
    ], axis=1)
    differences = numpy.eye(plane.size)[pairs[1]] - numpy.eye(plane.size)[pairs[0]]
    count = len(differences)
    bounds = numpy.block([[-differences, numpy.eye(count)], [differences, numpy.eye(count)]])
    data, weights = plane.ravel(), kept.ravel().astype(float)

    def objective(variables):
        distance = variables[:data.size] - data
        value = (weights * distance**2).sum() + strength * variables[data.size:].sum()
        return value, numpy.concatenate([2 * weights * distance, numpy.full(count, strength)])

    start = numpy.concatenate([data, abs(differences @ data)])
    constraint = {"type": "ineq", "fun": lambda variables: bounds @ variables, "jac": lambda _: bounds}
    options = {"maxiter": 1000, "ftol": 1e-12}
    found = minimize(objective, start, jac=True, constraints=[constraint], method="SLSQP", options=options)
    assert found.success, found.message
    return found.x[:data.size].reshape(plane.shape)


def cheapest(errors):
    """The connected path through the rows of a strip with the least sum, by trying all of them."""
    rows, columns = errors.shape
    paths = itertools.product(range(columns), repeat=rows)
    connected = (path for path in paths if all(abs(a - b) <= 1 for a, b in zip(path, path[1:])))
    return min(connected, key=lambda path: sum(errors[row, column] for row, column in enumerate(path)))


def quilted(image, patches, side, overlap):
    _, height, width = image.shape
    quilt = numpy.zeros_like(image)

    def places(length):
        return [*range(0, length - side, side - overlap), length - side]

    for row, top in enumerate(places(height)):
        for column, left in enumerate(places(width)):
            wanted = image[:, top:top + side, left:left + side]
            patch = patches[((patches - wanted) ** 2).sum((1, 2, 3)).argmin()]
            there = quilt[:, top:top + side, left:left + side]
            errors = ((patch - there) ** 2).sum(0)
            keep = numpy.zeros((side, side), bool)
            if column:
                over = places(width)[column - 1] + side - left
                for y, x in enumerate(cheapest(errors[:, :over])):
                    keep[y, :x] = True
            if row:
                over = places(height)[row - 1] + side - top
                for x, y in enumerate(cheapest(errors[:over].T)):
                    keep[:y, x] = True
            there[:] = numpy.where(keep, there, patch)
    return quilt


def picture():
    """A small colour image with slopes, an edge and some noise, in bytes; neither side is made of whole blocks."""
    y, x = numpy.mgrid[:20, :28]
    planes = [
        110 + 80 * numpy.sin(x / 5 + y / 9),
        numpy.where((x - 15) ** 2 + (y - 9) ** 2 < 40, 210, 60 + 3 * y),
        40 + 6 * x + 20 * numpy.cos(y / 3),
    ]
    return (numpy.stack(planes, 2) + 12 * pattern(20, 28, 3)).clip(0, 255).round().astype(numpy.uint8)


def compressed(image, quality, subsampling):
    """What libjpeg makes of bytes, in planes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return numpy.atleast_3d(numpy.asarray(Image.open(file))).transpose(2, 0, 1)


images = pattern(1, 2, 7, 9)
noisy = pattern(2, 8, 8).astype(float)
half = numpy.arange(64).reshape(8, 8) * 7 % 5 < 2
# Values that are unlikely to give two cuts of the same cost.
patches = (numpy.arange(40 * 2 * 4 * 4) ** 2 * 7919 % 10007 / 10006).astype(numpy.float32).reshape(40, 2, 4, 4)
numbers = {
    "smaller-bilinear": interpolated(images, (5, 6), "bilinear"),
    "smaller-nearest": interpolated(images, (5, 6), "nearest"),
    "crop-bilinear": interpolated(images[:, :, 2:6, 1:6], (7, 9), "bilinear"),
    "total-variation-half": numpy.stack([minimised(plane, half, 0.3) for plane in noisy]),
    "total-variation-whole": numpy.stack([minimised(plane, half | True, 0.1) for plane in noisy]),
    "median-2": median_filter(pattern(1, 2, 5, 7), size=(1, 1, 2, 2), mode="reflect"),
    "median-3": median_filter(pattern(1, 2, 5, 7), size=(1, 1, 3, 3), mode="reflect"),
    "quilting": quilted(pattern(2, 9, 11), patches, 4, 2),
    "jpeg-image": picture().transpose(2, 0, 1),
    "jpeg-75-420": compressed(picture(), 75, "4:2:0"),
    "jpeg-75-444": compressed(picture(), 75, "4:4:4"),
    "jpeg-30-420": compressed(picture(), 30, "4:2:0"),
    "jpeg-75-grey": compressed(picture()[:, :, 1].copy(), 75, "4:4:4"),
}
if __name__ == "__main__":
    with open("reference.json", "w") as file:
        bytes_or_rounded = lambda value: int(value) if value.dtype == numpy.uint8 else float(f"{value:.7g}")
        rounded = {name: [bytes_or_rounded(value) for value in values.ravel()] for name, values in numbers.items()}
        file.write(",\n".join(json.dumps(rounded).split(", \"")).replace(",\n", ",\n\"") + "\n")
