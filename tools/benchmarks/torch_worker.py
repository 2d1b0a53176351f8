"""The same network and step in PyTorch, in a process of its own that steps when it is told to.

Batch normalization stands for weight normalization with mean-only batch normalization, which PyTorch does not have;
noise, costs, average and optimizer are those of the Keras step. Channels-last, bfloat16 by autocast, eager or with both
networks compiled: PyTorch's usual ways.
"""

import json
import subprocess
import sys


class TorchWorker:
    """Runs this module as a program and asks it for steps.

    Args:
        python: The Python that has PyTorch.
        batch_size: Examples per step.
        threads: That it may use.
    """

    def __init__(self, python: str, batch_size: int, threads: int):
        self._command = [python, __file__, str(batch_size), str(threads)]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._process.stdout.readline().strip()
        if not self.version:
            raise SystemExit("--torch needs PyTorch: pip install torch")
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()

    def step_of(self, width: float, *, teacher: bool = True, bfloat16: bool = False, compiled: bool = False):
        """Returns a function that does one step.

        Args:
            width: Of the ConvNet.
            teacher: Whether it is one of Mean Teacher, or supervised.
            bfloat16: Whether it is computed in bfloat16.
            compiled: Whether `torch.compile` compiles the networks.
        """

        def step():
            print(json.dumps([width, teacher, bfloat16, compiled]), file=self._process.stdin, flush=True)
            return float(self._process.stdout.readline())

        return step


def _network(width):
    from torch import nn

    def conv(inputs, outputs, kernel, padding):
        outputs = max(1, round(outputs * width))
        layers = [nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False), nn.BatchNorm2d(outputs)]
        return outputs, [*layers, nn.LeakyReLU(0.1)]

    channels, layers = 3, []
    for filters in (128, 256):
        for _ in range(3):
            channels, block = conv(channels, filters, 3, 1)
            layers += block
        layers += [nn.MaxPool2d(2), nn.Dropout(0.5)]
    for filters, kernel in ((512, 3), (256, 1), (128, 1)):
        channels, block = conv(channels, filters, kernel, 0)
        layers += block
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _main(batch_size, threads):
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(batch_size) % 10
    labeled = (torch.arange(batch_size) % 2).float()

    def view():
        x = images.float()
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / x.std((1, 2, 3), keepdim=True)
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        rows = torch.randint(0, 5, (batch_size, 1)) + torch.arange(32)
        columns = torch.randint(0, 5, (batch_size, 1)) + torch.arange(32)
        batch = torch.arange(batch_size)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        x = x + 0.15 * torch.randn_like(x)
        return x.contiguous(memory_format=torch.channels_last)

    class Step:
        def __init__(self, width, with_teacher, bfloat16, compiled):
            self.student = _network(width).to(memory_format=torch.channels_last)
            self.teacher = _network(width).to(memory_format=torch.channels_last) if with_teacher else None
            if compiled:
                self.student.compile()
            if compiled and with_teacher:
                self.teacher.compile()
            self.optimizer = torch.optim.Adam(self.student.parameters(), 0.003)
            self.bfloat16 = bfloat16

        def __call__(self):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                if self.teacher:
                    with torch.no_grad():
                        target = self.teacher(view())
                logits = self.student(view())
            logits = logits.float()
            loss = (functional.cross_entropy(logits, labels, reduction="none") * labeled).mean()
            if self.teacher:
                difference = functional.softmax(logits, 1) - functional.softmax(target.float(), 1)
                loss = loss + difference.square().mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.teacher:
                with torch.no_grad():
                    torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 0.001)
            return loss.item()

    steps = {}
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        if line not in steps:
            steps[line] = Step(*json.loads(line))
        print(steps[line](), flush=True)


if __name__ == "__main__":
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.exit(1)
    _main(int(sys.argv[1]), int(sys.argv[2]))
