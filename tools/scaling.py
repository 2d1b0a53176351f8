"""What a step sends over the network, counted, and how a run would scale with it, estimated.

python tools/scaling.py
python tools/scaling.py --architecture=resnext152 --step_seconds=0.5 --links=10,100 --latency_ms=0.05
"""

import argparse
import math

import keras

from keras_mt.architectures import ARCHITECTURES

NETWORKS = {
    "convnet13": ((32, 32, 3), 10),
    "shake_shake26": ((32, 32, 3), 10),
    "wide_resnet28": ((32, 32, 3), 10),
    "resnext152": ((224, 224, 3), 1000),
}
WORKERS = (1, 2, 4, 8, 16, 32, 64)
_LOGS = 13  # Scalars that a step reports, and whether a worker was told to stop.


def volume(architecture: str) -> dict[str, int]:
    """Returns what a step reduces over all replicas: numbers of float32 values, and how many reductions.

    Each running statistic is reduced for the student's pass and the teacher's, once more in the gradient, and twice
    when the statistics of both networks are made equal on all replicas.
    """
    shape, classes = NETWORKS[architecture]
    network = ARCHITECTURES[architecture](shape, classes)
    gradients = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    statistics = [weight for weight in network.non_trainable_weights if weight.dtype == "float32"]
    numbers = sum(math.prod(weight.shape) for weight in statistics)
    keras.backend.clear_session()
    return {
        "parameters": gradients,
        "values": gradients + 5 * numbers + _LOGS,
        "reductions": 5 * len(statistics) + len(network.trainable_weights) + _LOGS,
    }


def seconds_of_communication(counted: dict, workers: int, gigabits: float, latency: float) -> float:
    """Returns the estimated time of a step's reductions, one after another, as rings.

    A ring sends 2 (n - 1) / n of the values through each link; each reduction waits for 2 log2(n) latencies.
    """
    if workers == 1:
        return 0.0
    bits = 32 * counted["values"] * 2 * (workers - 1) / workers
    return bits / (gigabits * 1e9) + counted["reductions"] * latency * 2 * math.log2(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=NETWORKS, help="Estimate for one network, beside counting all.")
    parser.add_argument("--step_seconds", type=float, default=0.5, help="A step on one device with its batch.")
    parser.add_argument("--links", default="1,10,25,100", help="Speeds of a worker's link in Gbit/s.")
    parser.add_argument("--latency_ms", type=float, default=0.05, help="One way, of one message.")
    arguments = parser.parse_args()
    print("| network | parameters | MB reduced in a step | reductions |\n| --- | --- | --- | --- |")
    for name in NETWORKS:
        counted = volume(name)
        megabytes = 4 * counted["values"] / 1e6
        print(f"| {name} | {counted['parameters']:,} | {megabytes:.1f} | {counted['reductions']} |")
    if arguments.architecture:
        counted = volume(arguments.architecture)
        print(f"\n| Gbit/s | {' | '.join(f'{n} workers' for n in WORKERS)} |\n|{' --- |' * (len(WORKERS) + 1)}")
        for link in map(float, arguments.links.split(",")):
            sent = [seconds_of_communication(counted, n, link, arguments.latency_ms / 1e3) for n in WORKERS]
            shares = [
                n * arguments.step_seconds / (arguments.step_seconds + s) for n, s in zip(WORKERS, sent, strict=True)
            ]
            print(f"| {link:g} | {' | '.join(f'{share:.1f}' for share in shares)} |")


if __name__ == "__main__":
    main()
