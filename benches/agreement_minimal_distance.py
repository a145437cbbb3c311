"""Compares the attacks that minimise the distance by gradients with AdvLib, Foolbox, torchattacks and ART.

    target/release/realsafe-spec run specs/agreement/minimal_distance.toml specs/agreement/minimal_distance_mnist.toml --out OUT
    REALSAFE_DATA=... target/peers/bin/python benches/agreement_minimal_distance.py --samples-csv OUT/samples.csv

Prints the median distance over all images, where a failure is infinity and an image that is misclassified anyway is 0, and
the share of images that were broken. Every image that a library returns is judged anew. Libraries and models run in parts:
--attacks, --models, --count. reports/agreement/minimal_distance.md says what came out.
"""

import argparse
import math
import time
import warnings

import networks
import torch

warnings.filterwarnings("ignore")

MODELS = ("cifar10-resnet4b-adv", "mnist-lenet5-standard", "mnist-lenet5-pgd-at")
ORDERS = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}
BATCH = 100


def adv_lib(attack, **options):
    from adv_lib import attacks

    function = {"deepfool": attacks.df, "ddn": attacks.ddn, "fmn": attacks.fmn, "cw": attacks.carlini_wagner_l2}[attack]
    return lambda model, x, y: function(model, x, y, **options)


def foolbox(attack, **options):
    import foolbox
    from foolbox import attacks

    def run(model, x, y):
        made = getattr(attacks, attack)(**options)
        return made(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)[0]

    return run


def torchattacks(attack, **options):
    import torchattacks

    return lambda model, x, y: getattr(torchattacks, attack)(model, **options)(x, y)


def art(attack, **options):
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    def run(model, x, y):
        loss = torch.nn.CrossEntropyLoss()
        classifier = PyTorchClassifier(model, loss, tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu")
        made = getattr(evasion, attack)(classifier, batch_size=len(x), verbose=False, **options)
        return torch.from_numpy(made.generate(x.numpy(), y.numpy()))

    return run


def peers(attack, norm):
    """The names of implementations, and functions of model, images and labels."""
    if attack == "deepfool":
        name = {"l2": "L2DeepFoolAttack", "linf": "LinfDeepFoolAttack"}[norm]
        yield "AdvLib", adv_lib("deepfool", steps=50, norm=ORDERS[norm])
        yield "Foolbox", foolbox(name, steps=50, candidates=10, overshoot=0.02)
        if norm == "l2":
            yield "torchattacks", torchattacks("DeepFool", steps=50, overshoot=0.02)
            yield "ART", art("DeepFool", max_iter=50, epsilon=0.02, nb_grads=10)
    elif attack == "ddn":
        yield "AdvLib", adv_lib("ddn", steps=100, levels=None)
        yield "Foolbox", foolbox("DDNAttack", steps=100, init_epsilon=1.0, gamma=0.05)
    elif attack == "fmn":
        name = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack", "l0": "L0FMNAttack"}[norm]
        yield "AdvLib", adv_lib("fmn", steps=100, norm=ORDERS[norm])
        yield "Foolbox", foolbox(name, steps=100)
    else:
        options = {"binary_search_steps": 9, "initial_const": 0.1, "abort_early": False}
        yield "AdvLib", adv_lib("cw", learning_rate=0.01, max_iterations=200, **options)
        yield "Foolbox", foolbox("L2CarliniWagnerAttack", steps=200, stepsize=0.01, **options)
        yield "ART", art("CarliniL2Method", binary_search_steps=9, max_iter=200, initial_const=0.1, learning_rate=0.01)


def distances(model, x, y, adversarial, norm):
    """The distance of each image; infinite where it fails, 0 where the clean image is wrong."""
    change = (adversarial - x).flatten(1).double()
    size = (change != 0).sum(1).double() if norm == "l0" else change.norm(ORDERS[norm], 1)
    with torch.no_grad():
        wrong = model(x).argmax(1) != y
        broken = (model(adversarial).argmax(1) != y) & (adversarial >= 0).flatten(1).all(1) & (adversarial <= 1).flatten(1).all(1)
    size[~broken] = math.inf
    size[wrong] = 0
    return size.tolist()


def describe(name, found, seconds=None):
    found = sorted(found)
    middle = (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2
    rate = sum(distance < math.inf for distance in found) / len(found)
    print(f"  {name:14} median {middle:10.5f}  broken {rate:6.1%}" + (f"  {seconds:6.0f} s" if seconds else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples-csv", required=True)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--attacks", nargs="+", default=["deepfool", "ddn", "fmn", "cw"])
    parser.add_argument("--norms", nargs="+", default=list(ORDERS))
    parser.add_argument("--count", type=int, default=200, help="images (default: %(default)s)")
    parser.add_argument("--libraries", nargs="+", default=["AdvLib", "Foolbox", "torchattacks", "ART"])
    parser.add_argument("--double", action="store_true", help="double precision, which shows what is due to rounding")
    arguments = parser.parse_args()
    norms = {"deepfool": ("linf", "l2"), "fmn": tuple(ORDERS)}
    for name in arguments.models:
        model = networks.load(name)
        x, y = networks.images(name, arguments.count)
        if arguments.double:
            model, x = model.double(), x.double()
        for attack in arguments.attacks:
            for norm in norms.get(attack, ("l2",)):
                if norm not in arguments.norms:
                    continue
                print(f"{name}, {attack}, {norm}, {len(x)} images")
                ours = networks.rows(arguments.samples_csv, model=name, attack=attack, norm=norm)
                ours = [row for row in ours if int(row["sample"]) < len(x)]
                column = f"dist_{norm}"
                if ours:
                    describe("ours", [float(row[column]) if row["status"] == "broken" else math.inf for row in ours])
                for library, run in peers(attack, norm):
                    if library not in arguments.libraries:
                        continue
                    torch.manual_seed(0)
                    started = time.perf_counter()
                    parts = list(zip(x.split(BATCH), y.split(BATCH)))
                    found = [distances(model, a, b, run(model, a.clone(), b).detach(), norm) for a, b in parts]
                    describe(library, sum(found, []), time.perf_counter() - started)


if __name__ == "__main__":
    main()
