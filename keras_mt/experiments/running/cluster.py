"""The workers of a run on several machines: what `TF_CONFIG` says, checked before TensorFlow would wait for it."""

import dataclasses
import json
import os
import re
import socket
import time

from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import COUNT, TEXT, TEXTS, DamagedFileError, Kind, check_fields

_ADDRESSES = Kind(
    "a table of lists of texts",
    lambda value: isinstance(value, dict) and all(map(TEXT.holds, value)) and all(map(TEXTS.holds, value.values())),
)
_INDEX = Kind(
    "a whole number of at least 0",
    lambda value: COUNT.holds(value) or (TEXT.holds(value) and re.fullmatch("[0-9]{1,9}", value)),
)
_FIELDS = {"cluster": _ADDRESSES, "task": {"type": TEXT, "index": _INDEX}}
_FORM = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        addresses: `host:port` of each, the chief's first.
        here: Which of them this process is.
    """

    addresses: tuple[str, ...] = ("",)
    here: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.here == 0

    def unanswering(self) -> list[str]:
        """Returns the addresses of other workers that take no connection."""
        others = [address for place, address in enumerate(self.addresses) if place != self.here]
        return [address for address in others if not _answers(address)]

    def wait_for_all(self, timeout: float) -> None:
        """Waits until each worker has been started: TensorFlow would wait for one without end, deaf to all signals.

        Args:
            timeout: Seconds to wait.

        Raises:
            RunError: If a worker does not answer in time, or this worker's port is taken.
        """
        address = self.addresses[self.here]
        port = int(address.rpartition(":")[2])
        until, silent = time.monotonic() + timeout, self.addresses
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
                listener.listen(len(self.addresses))
            except OSError as error:
                raise RunError(
                    f"TF_CONFIG: port {port} of this worker's {address} can't be used ({error.strerror})"
                ) from error
            # Whoever has seen all goes on and answers as TensorFlow's server on the same port.
            while silent := [other for other in self.unanswering() if other in silent]:
                if time.monotonic() > until:
                    raise RunError(
                        f"{', '.join(silent)} of TF_CONFIG did not answer for --worker_timeout={timeout:g} seconds; "
                        "start all workers, or correct the address"
                    )
                time.sleep(0.2)


def of(config: Config) -> Cluster:
    """Returns the workers of a run.

    Raises:
        UsageError: If --strategy and `TF_CONFIG` contradict each other.
    """
    if config.strategy not in ("auto", "multi_worker"):
        return Cluster()
    workers = read()
    if config.strategy == "multi_worker" and len(workers.addresses) < 2:
        raise UsageError(
            f"--strategy=multi_worker needs the environment variable TF_CONFIG with several workers, not "
            f"{len(workers.addresses)}"
        )
    if len(workers.addresses) > 1 and config.logical_devices:
        raise UsageError(f"--logical_devices={config.logical_devices} can't be used with --strategy=multi_worker")
    return workers


def read() -> Cluster:
    """Returns the cluster that the environment variable `TF_CONFIG` describes; of one worker if there is none.

    Raises:
        UsageError: If the description contradicts itself.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return Cluster()
    try:
        config = json.loads(text)
        check_fields("TF_CONFIG", config, _FIELDS)
    except DamagedFileError as error:
        raise UsageError(f"{str(error).replace('is damaged', 'is wrong')}; its form is {_FORM}") from error
    except RecursionError as error:
        raise UsageError(f"TF_CONFIG is nested too deeply; its form is {_FORM}") from error
    except ValueError as error:
        raise UsageError(f"TF_CONFIG={text} can't be read (no JSON: {error}); its form is {_FORM}") from error
    addresses, kind, index = config["cluster"], config["task"]["type"], int(config["task"]["index"])
    unknown = set(addresses) - {"chief", "worker"}
    if unknown:
        raise UsageError(f"TF_CONFIG names tasks {', '.join(sorted(unknown))}; a run has only chief and worker")
    if len(addresses.get("chief", [])) > 1:
        raise UsageError(f"TF_CONFIG names {len(addresses['chief'])} chiefs; at most one is allowed")
    if kind not in addresses or not 0 <= index < len(addresses[kind]):
        numbers = {name: len(there) for name, there in addresses.items()}
        raise UsageError(f"TF_CONFIG: task {kind} {index} is not in its cluster, which has {numbers}")
    everyone = [*addresses.get("chief", []), *addresses.get("worker", [])]
    for address in everyone:
        _check_address(address)
        if everyone.count(address) > 1:
            raise UsageError(f"TF_CONFIG names {address} {everyone.count(address)} times; each worker needs its own")
    return Cluster(tuple(everyone), everyone.index(addresses[kind][index]))


def _check_address(address):
    host, _, port = str(address).rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise UsageError(f"TF_CONFIG: {address!r} is no address; host:port is needed, with a port from 1 to 65535")


def _answers(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True
