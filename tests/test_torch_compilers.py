"""PyTorch without its compilers is whole before anything needs them, and trains the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.small_experiments import only_run, without_seconds, write_small

# What a process knows: of every operator whether it computes on tensors without values, which are decomposed
# and how, and what is in the modules that may have been left for later. It is asked in forks: a new process
# takes seconds, as would `torch.compile`, which begins with an import of fake tensors.
KNOWN = """
import os, sys

def known():
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    modules = [sys.modules[name] for name in ("torch.export", "torch._meta_registrations")]
    decomposed = sys.modules["torch._decomp"].decomposition_table
    return [
        *(f"{name} Meta" for name in torch._C._dispatch_get_all_op_names() if has(name, "Meta")),
        *(f"{op} {function.__module__}.{function.__qualname__}" for op, function in decomposed.items()),
        *(f"{op} {sorted(map(str, op.py_kernels))}" for op in decomposed if hasattr(op, "py_kernels")),
        *(f"{module.__name__}.{name}" for module in modules for name in dir(module)),
        *(f"{type(module).__name__} {type(module.__spec__.loader).__name__}" for module in modules),
    ]

def tell(after):
    sys.stdout.flush()
    if os.fork() == 0:
        exec(after, globals())
        text = "\\n".join(sorted(set(known())))
        print(after, len(text), hash(text), flush=True)
        os._exit(0)
    os.wait()
"""
WAYS = [
    "torch.export.Dim('rows')",
    "torch._meta_registrations.aten",
    "torch.func.vmap(torch.sin)(torch.ones(2))",
    "torch.func.jvp(torch.sin, (torch.ones(2),), (torch.ones(2),))",
    "import torch._subclasses.fake_tensor as f; f.FakeTensorMode()",
    "import threading; t = threading.Thread(target=lambda: torch.export.Dim('rows')); t.start(); t.join()",
    "from nnrun.torch_compilers import whole_torch; whole_torch()",
]


def output_of(script: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()


def test_whoever_needs_them_finds_pytorch_whole() -> None:
    whole = output_of(f"{KNOWN}\nimport torch\nfor way in {WAYS}: tell(way)")
    late = output_of(
        f"{KNOWN}\nfrom nnrun.torch_compilers import leave_compilers_for_later\nleave_compilers_for_later()\n"
        "from nnrun.lazy_torch import torch as lazy\nlazy.zeros(1)\nimport torch\n"
        "print(*(type(sys.modules[n]).__name__ for n in ('torch.export', 'torch._meta_registrations')))\n"
        f"print('torch._decomp' in sys.modules)\nfor way in {WAYS}: tell(way)"
    )
    assert late[:2] == ["_Empty _Empty", "False"]
    assert late[2:] == whole
    assert len(whole) == len(WAYS)


def test_who_imports_nnrun_gets_all_of_pytorch() -> None:
    script = (
        "import sys, nnrun; from nnrun.lazy_torch import torch; torch.zeros(1)\n"
        "print('torch._decomp' in sys.modules, type(sys.modules['torch.export']).__name__)"
    )
    assert output_of(script) == ["True module"]


def test_a_command_trains_without_them_to_the_same_bits(tmp_path: Path) -> None:
    spec = write_small(tmp_path)
    start = (
        "import os, sys\n{first}\nfrom nnrun.cli import entry_point\nleave = os._exit\n"
        "os._exit = lambda code: (os.write(1, b'%d' % ('torch._decomp' in sys.modules)), leave(code))\n"
        f"sys.argv = ['nnrun', 'train', {str(spec)!r}, '-q', '--runs-dir', "
        "{runs!r}]\nentry_point()"
    )
    histories, imported = [], []
    for name, first in (("late", ""), ("whole", "import torch")):
        runs = tmp_path / name
        command = [sys.executable, "-c", start.format(first=first, runs=str(runs))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        imported.append(done.stdout[-1])
        histories.append(without_seconds(only_run(runs)))
    assert imported == ["0", "1"]
    assert histories[0] == histories[1]
