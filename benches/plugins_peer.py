"""Compares the example plugins with public implementations: ART's SimBA, Foolbox's repeated noise, SciPy's median filter.

    target/peers/bin/python benches/plugins_peer.py simba [--samples-csv results/samples.csv]
    target/peers/bin/python benches/plugins_peer.py noise [--samples-csv results/samples.csv]
    target/peers/bin/python benches/plugins_peer.py median --library plugins/target/release/libmedian_smoothing.so

The first two measure what plugins/specs/simba-mnist.toml and plugins/specs/noise-mnist.toml measure, and put the results of
a run of those beside it; the third calls the library through its C ABI. Data and weights lie under $REALSAFE_DATA.
reports/plugins.md says what came out, and how the packages are installed.
"""

import argparse
import csv
import ctypes
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import networks
import numpy
import torch
from torch import nn
from torch.nn import functional

SEEDS = (0, 1, 2)
MODELS = ("mnist-lenet5-standard", "mnist-lenet5-pgd-at")
STEPS = 784
STEP_SIZE = 0.2
# Success rates are compared after so many queries, too: after all of them hardly an image is left.
EARLY = (300, 600, 900)
TRIES = 50


def correctly_classified(name, count):
    """The network, and those images that it classifies correctly, with their labels."""
    model = networks.load(name)
    images, labels = (values.numpy() for values in networks.images(name, count))
    with torch.no_grad():
        right = (model(torch.from_numpy(images)).argmax(1) == torch.from_numpy(labels)).numpy()
    return model, images[right], labels[right]


def rows_of(path, model, attack, eps=None):
    """Of each seed, the queries of each correctly classified sample of a run, or None where it was not broken."""
    queries = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["model"], row["attack"]) != (model, attack) or row["clean_pred"] != row["label"]:
                continue
            if eps is not None and not math.isclose(float(row["eps"]), eps, rel_tol=1e-6):
                continue
            if row["status"] not in ("robust", "broken"):
                sys.exit(f"error: {path}: sample {row['sample']} ended as {row['status']}")
            queries[int(row["seed"])].append(int(row["first_success"]) if row["status"] == "broken" else None)
    return list(queries.values())


def mean_over_seeds(seeds, value):
    """A mean with its standard error, as far as it comes from the seeds: the images are the same for everybody."""
    samples = [[value(queries) for queries in sample] for sample in zip(*seeds)]
    known = [[number for number in sample if number is not None] for sample in samples]
    every = [number for sample in known for number in sample]
    spread = [statistics.variance(sample) / len(sample) for sample in known if len(sample) > 1]
    if not spread:
        return "none"
    return f"{statistics.mean(every):.1f} ± {math.sqrt(sum(spread)) / len(spread):.1f}"


def describe(name, seeds, budgets=()):
    """Prints success rates, in all and within budgets, and queries to success; `seeds` is as `rows_of` gives it."""
    if not seeds:
        sys.exit(f"error: {name}: the run has no such rows")
    columns = []
    for budget in (*budgets, math.inf):
        rate = mean_over_seeds(seeds, lambda queries: 100.0 * (queries is not None and queries <= budget))
        columns.append(f"{rate} %" if budget == math.inf else f"{rate} % within {budget}")
    text = f"  {name:34} success {', '.join(columns)}"
    if budgets:
        found = [queries for sample in seeds for queries in sample if queries is not None]
        median = f"{statistics.median(found):.0f}" if found else "none"
        text += f"; queries {mean_over_seeds(seeds, lambda queries: queries)}, median {median}"
    print(text, flush=True)


# SimBA


def art_simba(model, images, labels, basis, precision, seed):
    """ART's attack: per image its own queries, those of the same steps in the paper's order, and its steps; None where it
    failed. The third result counts the steps in which both signs would have helped, where the two orders differ."""
    from art.attacks.evasion import SimBA
    from art.estimators.classification import PyTorchClassifier

    class Classifier(PyTorchClassifier):
        """Probabilities in a precision of one's choice, all of them kept."""

        def predict(self, x, batch_size=1, training_mode=False, **_):
            # Much that is tried is clipped to what was there before.
            if (known := self.known.get(x.tobytes())) is None:
                with torch.no_grad():
                    known = functional.softmax(model(torch.from_numpy(x)).to(precision), 1).numpy()
                self.known[x.tobytes()] = known
            self.answers.append(known[0])
            return known

    classifier = Classifier(model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu")
    # The square of frequencies that ART begins with is the whole image, so their order is random.
    attack = SimBA(classifier, attack={"pixel": "px", "dct": "dct"}[basis], max_iter=STEPS, order="random",
                   epsilon=STEP_SIZE, freq_dim=28, stride=1, verbose=False)
    numpy.random.seed(seed)
    own, sequential, ambiguous = [], [], 0
    for image, label in zip(images, labels):
        classifier.answers, classifier.known = [], {}
        attack.generate(image[None], numpy.eye(10)[[label]])
        probabilities = numpy.array(classifier.answers)
        last, queries = probabilities[0][label], 1
        for left, right in zip(probabilities[1::2, label], probabilities[2::2, label]):
            queries += 1 if right < last else 2
            ambiguous += left < last and right < last
            last = min(last, left, right)
        accepted = probabilities[-2:][probabilities[-2:, label].argmin()]
        success = accepted[label] == last and accepted.argmax() != label
        own.append(len(probabilities) if success else None)
        sequential.append(queries if success else None)
    return own, sequential, ambiguous


def paper_simba(model, images, labels, basis, signs, seed, logarithms=True):
    """The paper's algorithm 1 on all images at once: one pass over a random order, the second sign only if the first did
    not help. Compares logarithms of probabilities, or probabilities of 32 bits. Queries of each image, None where it
    failed."""
    from scipy.fft import idctn

    generator = numpy.random.default_rng(seed)
    order = numpy.stack([generator.permutation(images[0].size) for _ in images])
    targets = torch.from_numpy(labels)

    def ask(x, rows):
        with torch.no_grad():
            logits = model(torch.from_numpy(x))
        scores = functional.log_softmax(logits.double(), 1) if logarithms else functional.softmax(logits, 1)
        label = scores.gather(1, targets[rows, None])[:, 0].numpy()
        return label, logits.argmax(1).numpy() != labels[rows]

    x = images.copy()
    best, _ = ask(x, numpy.arange(len(x)))
    queries, done = numpy.ones(len(x), int), numpy.zeros(len(x), bool)
    for step in range(STEPS):
        rows = numpy.flatnonzero(~done)
        for sign in signs:
            if len(rows) == 0:
                break
            direction = numpy.zeros((len(rows), 28 * 28), numpy.float32)
            direction[numpy.arange(len(rows)), order[rows, step]] = 1
            direction = direction.reshape(-1, 1, 28, 28)
            if basis == "dct":
                direction = idctn(direction, axes=(2, 3), norm="ortho")
            tried = numpy.clip(x[rows] + numpy.float32(sign * STEP_SIZE) * direction, 0, 1).astype(numpy.float32)
            label, wrong = ask(tried, rows)
            queries[rows] += 1
            better = label < best[rows]
            x[rows[better]], best[rows[better]] = tried[better], label[better]
            done[rows[wrong]] = True
            rows = rows[~better & ~wrong]
    return [int(count) if broken else None for count, broken in zip(queries, done)]


def simba(arguments):
    for name in arguments.models:
        model, images, labels = correctly_classified(name, arguments.count or 100)
        for basis in arguments.bases:
            print(f"SimBA, {basis}, {name}, {len(images)} images, {STEPS} directions, step size {STEP_SIZE}")
            if arguments.samples_csv:
                describe("plugin simba", rows_of(arguments.samples_csv, name, f"simba-{basis}"), EARLY)
            for title, signs, logarithms in (("+ first", (1, -1), True), ("- first", (-1, 1), True),
                                             ("+ first, 32 bits", (1, -1), False)):
                runs = [paper_simba(model, images, labels, basis, signs, seed, logarithms) for seed in SEEDS]
                describe(f"algorithm 1, {title}", runs, EARLY)
            for precision in (torch.float32, torch.float64):
                runs = [art_simba(model, images, labels, basis, precision, seed) for seed in SEEDS]
                bits = torch.finfo(precision).bits
                describe(f"ART, {bits} bits, as it asks", [run[0] for run in runs], EARLY)
                describe(f"ART, {bits} bits, + first", [run[1] for run in runs], EARLY)
                print(f"  steps in which both signs helped: {sum(run[2] for run in runs)}")


# Noise


def noise(arguments):
    import eagerpy
    import foolbox
    from foolbox.attacks import L2RepeatedAdditiveGaussianNoiseAttack as L2Gaussian
    from foolbox.attacks import L2RepeatedAdditiveUniformNoiseAttack as L2Uniform
    from foolbox.attacks import LinfRepeatedAdditiveUniformNoiseAttack as Linf

    class L2Ball(L2Gaussian):
        """Foolbox's attack with what the plugin draws: a Gaussian direction times a uniform length."""

        def get_epsilons(self, x, p, epsilon, min_, max_):
            radius = x.uniform((len(x),), 0, epsilon)
            norms = p.flatten(1, -1).norms.l2(axis=-1)
            return (radius / norms).reshape((-1, 1, 1, 1))

    name = MODELS[0]
    model, images, labels = correctly_classified(name, arguments.count or 300)
    victim = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for norm, radii, attacks in (
        ("linf", arguments.linf, {"Foolbox, linf uniform": Linf}),
        ("l2", arguments.l2, {"Foolbox, l2 in the ball": L2Ball, "Foolbox, l2 uniform, on the sphere": L2Uniform}),
    ):
        for eps in radii:
            print(f"noise, {norm} {eps}, {name}, {len(images)} images, {TRIES} tries")
            if arguments.samples_csv:
                describe("plugin uniform-noise", rows_of(arguments.samples_csv, name, "uniform-noise", eps))
            for title, attack in attacks.items():
                runs, outside = [], 0.0
                for seed in SEEDS:
                    torch.manual_seed(seed)
                    found = attack(repeats=TRIES).run(victim, x, y, epsilon=eps)
                    with torch.no_grad():
                        broken = model(found).argmax(1) != y
                    outside = max(outside, ((found - x).abs().amax() if norm == "linf"
                                            else (found - x).flatten(1).norm(dim=1).max()).item() - eps)
                    # The attack does not say when it succeeded.
                    runs.append([TRIES if success else None for success in broken.tolist()])
                describe(title, runs)
                if outside > 1e-6:
                    print(f"  an image lies {outside:.5f} outside the ball")


# Median


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_uint64)]


class Component(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("kind", ctypes.c_uint32), ("revision", ctypes.c_uint32), ("id", Text),
                ("documentation", Text), ("example", Text), ("parameters", ctypes.c_void_p),
                ("parameter_count", ctypes.c_uint64), ("interface", ctypes.c_void_p)]


class Plugin(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("magic", ctypes.c_uint32), ("major", ctypes.c_uint32),
                ("minor", ctypes.c_uint32), ("needs_minor", ctypes.c_uint32), ("name", Text), ("version", Text),
                ("licence", Text), ("documentation", Text), ("components", ctypes.POINTER(ctypes.POINTER(Component))),
                ("component_count", ctypes.c_uint64), ("homepage", Text)]


class Value(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("kind", ctypes.c_uint32), ("count", ctypes.c_uint64),
                ("number", ctypes.c_double), ("numbers", ctypes.c_void_p), ("number_count", ctypes.c_uint64),
                ("text", Text), ("bytes", ctypes.c_void_p), ("byte_count", ctypes.c_uint64)]


class Shape(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("size", "channels", "height", "width", "classes")]


POINTER = ctypes.c_void_p


class Defense(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("gradient", ctypes.c_uint32),
                ("create", ctypes.CFUNCTYPE(ctypes.c_int32, POINTER, POINTER, ctypes.c_uint64, POINTER)),
                ("destroy", ctypes.CFUNCTYPE(None, POINTER)),
                ("forward", ctypes.CFUNCTYPE(ctypes.c_int32, POINTER, POINTER, POINTER, ctypes.c_uint32, POINTER, POINTER)),
                ("pull", ctypes.CFUNCTYPE(ctypes.c_int32, POINTER, POINTER, POINTER, ctypes.c_uint32, POINTER, POINTER,
                                          POINTER))]


class MedianSmoothing:
    """The defense of the library, through its C ABI and without a host."""

    def __init__(self, library, window, shape):
        entry = ctypes.CDLL(str(library)).realsafe_plugin_v1
        entry.argtypes, entry.restype = [ctypes.c_uint32], ctypes.POINTER(Plugin)
        component = entry(1).contents.components[0].contents
        self.functions = ctypes.cast(component.interface, ctypes.POINTER(Defense)).contents
        # A count, the second kind of value.
        value = Value(size=ctypes.sizeof(Value), kind=2, count=window)
        values = (ctypes.POINTER(Value) * 1)(ctypes.pointer(value))
        self.instance = ctypes.c_void_p()
        self.check(self.functions.create(None, ctypes.addressof(values), 1, ctypes.addressof(self.instance)))
        self.shape = Shape(ctypes.sizeof(Shape), *shape, 0)

    def forward(self, images):
        output = numpy.full_like(images, numpy.nan)
        self.check(self.functions.forward(self.instance, None, ctypes.addressof(self.shape), len(images),
                                          images.ctypes.data, output.ctypes.data))
        return output

    def pull(self, images, cotangents):
        gradients = numpy.full_like(images, numpy.nan)
        self.check(self.functions.pull(self.instance, None, ctypes.addressof(self.shape), len(images),
                                       images.ctypes.data, cotangents.ctypes.data, gradients.ctypes.data))
        return gradients

    def close(self):
        self.functions.destroy(self.instance)

    @staticmethod
    def check(status):
        if status != 0:
            sys.exit(f"error: the library returned status {status}")


def unfolded_median(images, window):
    """The median by PyTorch, to be differentiated, and where it is one pixel only, however ties are broken."""
    _, channels, height, width = images.shape
    before, after = window // 2, window - 1 - window // 2
    places = numpy.arange(height * width).reshape(height, width)
    places = numpy.pad(places, ((before, after), (before, after)), mode="symmetric")
    windows = numpy.lib.stride_tricks.sliding_window_view(places, (window, window)).reshape(height * width, -1)
    places = torch.from_numpy(windows.copy())
    neighbours = images.flatten(2)[:, :, places]
    median, index = neighbours.kthvalue(window * window // 2 + 1, dim=3)
    chosen = places.expand(neighbours.shape).gather(3, index[..., None])
    unique = ((neighbours != median[..., None]) | (places == chosen)).all(3)
    return median.reshape(images.shape), unique.reshape(images.shape)


def median(arguments):
    from scipy.ndimage import median_filter

    images = networks.images(MODELS[0], arguments.count or 50)[0].numpy()
    generator = numpy.random.default_rng(0)
    # Strokes and background without equal pixels.
    distinct = (images * 0.5 + generator.uniform(0, 0.5, images.shape)).astype(numpy.float32)
    # More than one channel, height and width that differ.
    colour = generator.uniform(0, 1, (len(images), 3, 11, 17)).astype(numpy.float32)
    failed = False
    for title, x in (("MNIST", images), ("MNIST + noise", distinct), ("3x11x17 noise", colour)):
        for window in (2, 3, 4, 5):
            defense = MedianSmoothing(arguments.library, window, x.shape[1:])
            output = defense.forward(x)
            scipy = median_filter(x, size=(1, 1, window, window), mode="reflect")
            tensor = torch.from_numpy(x).requires_grad_()
            reference, unique = unfolded_median(tensor, window)
            cotangents = generator.standard_normal(x.shape).astype(numpy.float32) * unique.numpy()
            reference.backward(torch.from_numpy(cotangents))
            pulled = defense.pull(x, cotangents)
            defense.close()
            differences = [numpy.abs(output - scipy).max(), numpy.abs(output - reference.detach().numpy()).max(),
                           numpy.abs(pulled - tensor.grad.numpy()).max()]
            # The pull adds up to window² numbers in another order.
            failed |= not (differences[0] == 0 and differences[1] == 0 and differences[2] < 1e-5)
            print(f"median, {title}, window {window}, {len(x)} images: forward - SciPy {differences[0]:.1e}, "
                  f"forward - PyTorch {differences[1]:.1e}, pull - autograd {differences[2]:.1e} "
                  f"({100 * unique.double().mean():.1f} % of the medians unique)")
    if failed:
        sys.exit("error: the plugin differs")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("simba", "noise", "median"))
    parser.add_argument("--samples-csv", type=Path, help="of a run of the spec, to be put beside the peer")
    parser.add_argument("--library", type=Path, help="of median-smoothing")
    parser.add_argument("--count", type=int, help="images (simba 100, noise 300, median 50)")
    parser.add_argument("--models", nargs="+", default=[MODELS[0]], choices=MODELS, help="of simba")
    parser.add_argument("--bases", nargs="+", default=["pixel", "dct"], choices=("pixel", "dct"), help="of simba")
    parser.add_argument("--linf", nargs="+", type=float, default=[0.5, 0.55], help="radii of noise (%(default)s)")
    parser.add_argument("--l2", nargs="+", type=float, default=[9.0, 11.0], help="radii of noise (%(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.which == "median" and arguments.library is None:
        parser.error("median needs --library")
    {"simba": simba, "noise": noise, "median": median}[arguments.which](arguments)


if __name__ == "__main__":
    main()
