"""A layer of a person's own: a PyTorch module, for one network at a time (form: `nnrun.spec.custom_objects`).

One module stands for the networks of all replicas. It is called once for each of them, with the weights of
that replica put in its place, so that it needs to know nothing of replicas, and cannot mix them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nnrun.errors import NnrunError
from nnrun.lazy_torch import torch
from nnrun.model.layers.base import Layer, Parameters, Weight
from nnrun.model.layers.initializers import Shape
from nnrun.model.rng import BatchRng
from nnrun.spec import schema
from nnrun.spec.custom_objects import custom_object, own_fault
from nnrun.spec.schema.layer_shapes import shape_text
from nnrun.spec.wording import listing

if TYPE_CHECKING:
    from torch import Tensor

_INPUT_SHAPE = "input_shape"
_PROBED_ROWS = 3  # neither 0 nor 1, which code may treat in another way
_DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(eq=False)
class Pattern:
    """What a custom layer's code makes, for rows of one shape.

    Attributes:
        module: computes with whatever weights are put into it; its own mean nothing.
        output_shape: of a row that it gives.
        weights: what one replica has, by PyTorch's names.
        tied: whether a parameter or buffer of it has two names.
        checked: whether a training step has been looked at.
    """

    module: torch.nn.Module
    output_shape: Shape
    weights: Mapping[str, Weight]
    tied: bool
    checked: bool = False

    @cached_property
    def buffers(self) -> tuple[str, ...]:
        """The names of what training moves."""
        return tuple(name for name, _ in self.module.named_buffers())


def pattern_of(spec: schema.Custom, input_shape: Shape) -> Pattern:
    """Run a custom layer's code, and try what it makes on rows of zeros.

    Raises:
        UsageError: the code may not be run, or is not there.
        NnrunError: it failed, or gave what no layer may give.
    """
    with _seeded(0, torch.device("cpu")), torch.inference_mode(False):
        module = _made(spec, input_shape)
        output_shape = _tried(spec, module.eval(), input_shape)
        weights = _weights(spec, module)
        trained = _tried(spec, module.train(), input_shape)
        _refuse_other_weights(spec, weights, _weights(spec, module))
    if trained != output_shape:
        raise NnrunError(
            f"The custom layer {spec.object} gives rows of shape {shape_text(trained)} while training and "
            f"{shape_text(output_shape)} otherwise; it must give one shape."
        )
    every = [*_names(module.named_parameters, False), *_names(module.named_buffers, False)]
    return Pattern(module, output_shape, weights, tied=len(every) > len(weights))


@dataclass(frozen=True)
class CustomLayer(Layer[schema.Custom]):
    """What a person's own module computes. Its weights keep PyTorch's names: `<path>.linear.weight`."""

    pattern: Pattern = field(compare=False, repr=False)

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        """Parameters, trainable if they require a gradient; and all buffers."""
        return {self.name(name): weight for name, weight in self.pattern.weights.items()}

    @property
    def description(self) -> str:
        """With its name."""
        return f"custom, {self.spec.object}"

    @property
    def multiplications(self) -> int:
        """One for each number that it learns; what else it does only its code tells."""
        return self.parameters

    def initial(self, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
        """What the module starts with, PyTorch's generator seeded for it."""
        with _seeded(int(rng.integers(1 << 63)), torch.device("cpu")), torch.inference_mode(False):
            module = _made(self.spec, self.input_shape)
            _tried(self.spec, module.eval(), self.input_shape)  # gives lazy parameters their shape
        _refuse_other_weights(self.spec, self.pattern.weights, _weights(self.spec, module))
        values = dict([*module.named_parameters(), *module.named_buffers()])
        return {
            self.name(name): np.array(values[name].detach().numpy()).reshape(weight.shape)
            for name, weight in self.pattern.weights.items()
        }

    def forward(
        self, parameters: Parameters, x: Tensor, rng: BatchRng | None, new_buffers: dict[str, Tensor] | None
    ) -> Tensor:
        """The module's outputs, replica by replica; in a training step also its buffers."""
        pattern, training = self.pattern, new_buffers is not None
        if pattern.module.training is not training:
            pattern.module.train(training)
        stacked = {name: parameters[self.name(name)].unbind(0) for name in pattern.weights}
        outputs: list[Tensor] = []
        buffers: dict[str, list[Tensor]] = {name: [] for name in pattern.buffers}
        for replica, rows in enumerate(x.unbind(0)):
            own = {
                name: stacked[name][replica].reshape(weight.file_shape)
                for name, weight in pattern.weights.items()
            }
            own |= {name: own[name].clone() for name in pattern.buffers}
            seed = 0 if rng is None else rng.seed(self.path, replica)
            outputs.append(self._output(own, rows, seed, training))
            for name in pattern.buffers if training else ():
                buffers[name].append(self._buffer(name, own[name]))
        if new_buffers is not None:
            for name, values in buffers.items():
                new_buffers[self.name(name)] = torch.stack(values).reshape(
                    len(values), *pattern.weights[name].shape
                )
            pattern.checked = True
        return torch.stack(outputs)

    def _output(self, own: dict[str, Tensor], rows: Tensor, seed: int, training: bool) -> Tensor:
        """What the module gives, checked. `own` holds its buffers' new values afterwards."""
        pattern, spec = self.pattern, self.spec
        # A copy: code that works in place must not reach the rows, or what another layer gave.
        taken = rows.clone(memory_format=torch.contiguous_format)
        if torch.compiler.is_compiling():  # for an export, which traces what is done
            given: Tensor = torch.func.functional_call(
                pattern.module, own, (taken,), tie_weights=pattern.tied
            )
            return given
        with _seeded(seed, rows.device):
            try:
                output = torch.func.functional_call(pattern.module, own, (taken,), tie_weights=pattern.tied)
            except Exception as error:
                raise own_fault(f"{spec.object}, forward", error) from error
        shape = _checked(spec, output, len(rows))
        if shape != self.output_shape:
            raise NnrunError(
                f"The custom layer {spec.object} gave rows of shape {shape_text(shape)}, and "
                f"{shape_text(self.output_shape)} when it was tried on zeros; it must give one shape."
            )
        if training and not pattern.checked:
            self._check_first(own, rows, output)
        result: Tensor = output
        return result

    def _check_first(self, own: Mapping[str, Tensor], rows: Tensor, output: Tensor) -> None:
        """What is asked once: later on, weights that diverged are to blame, and are looked for elsewhere."""
        learns = any(own[name].requires_grad for name, w in self.pattern.weights.items() if w.trainable)
        if learns and torch.is_grad_enabled() and not output.requires_grad:
            raise NnrunError(
                f"The custom layer {self.spec.object} has weights to learn, and no gradient reaches them: "
                "its output does not depend on them, or forward detaches it (torch.no_grad, detach, NumPy)."
            )
        if bool(rows.isfinite().all()) and not bool(output.isfinite().all()):
            raise NnrunError(
                f"The custom layer {self.spec.object} gave numbers that are infinite or NaN for rows that "
                "are not, in its first training step."
            )

    def _buffer(self, name: str, value: Any) -> Tensor:
        """A buffer's new value, checked."""
        weight = self.pattern.weights[name]
        fits = isinstance(value, torch.Tensor) and tuple(value.shape) == weight.file_shape
        if not fits or str(value.dtype) != f"torch.{weight.dtype}":
            found = (
                f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, torch.Tensor) else repr(value)
            )
            raise NnrunError(
                f"The custom layer {self.spec.object} made {found} of its buffer {name}, which was "
                f"{weight.file_shape} of torch.{weight.dtype}; shape and type must stay."
            )
        kept: Tensor = value.detach()
        return kept


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within, PyTorch's generators start from a seed; afterwards they are where they were."""
    on_gpu = device.type == "cuda"
    index = (torch.cuda.current_device() if device.index is None else device.index) if on_gpu else 0
    with torch.random.fork_rng(devices=[index] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


def _made(spec: schema.Custom, input_shape: Shape) -> torch.nn.Module:
    """The module that the code makes."""
    code = custom_object(spec)
    if isinstance(code, torch.nn.Module) or not callable(code):
        raise NnrunError(
            f"The custom layer {spec.object} is {_named(code)}; it must be a class, or a function, that "
            "gives a new torch.nn.Module for each network."
        )
    arguments = dict(spec.parameters)
    if _INPUT_SHAPE not in arguments and _takes_input_shape(code):
        arguments[_INPUT_SHAPE] = input_shape  # type: ignore[assignment]  # a tuple, which no spec can hold
    try:
        module = code(**arguments)
    except Exception as error:
        raise own_fault(f"{spec.object}, which makes the layer,", error) from error
    if not isinstance(module, torch.nn.Module):
        raise NnrunError(
            f"The custom layer {spec.object} gave {_named(module)}; it must give a torch.nn.Module."
        )
    return module


def _takes_input_shape(code: Any) -> bool:
    try:
        return _INPUT_SHAPE in inspect.signature(code).parameters
    except (TypeError, ValueError):  # code in C may not say
        return False


def _tried(spec: schema.Custom, module: torch.nn.Module, input_shape: Shape) -> Shape:
    """The shape of a row that the module gives for zeros, in the mode that it is in."""
    rows = torch.zeros(_PROBED_ROWS, *input_shape, device="cpu")
    try:
        with torch.no_grad():
            output = module(rows)
    except Exception as error:
        tried = f"forward of {_PROBED_ROWS} rows of zeros of shape {shape_text(input_shape)}"
        raise own_fault(f"{spec.object}, {tried}", error) from error
    return _checked(spec, output, _PROBED_ROWS)


def _checked(spec: schema.Custom, output: Any, rows: int) -> Shape:
    """The shape of a row of an output; NnrunError where it is none of so many rows."""
    if not isinstance(output, torch.Tensor):
        raise NnrunError(
            f"The custom layer {spec.object} gave {_named(output)}; forward must give one tensor."
        )
    if output.dim() < 2 or len(output) != rows:
        raise NnrunError(
            f"The custom layer {spec.object} gave shape {tuple(output.shape)} for {rows} rows; it must give "
            f"({rows}, ...), one row of numbers for each."
        )
    if output.dtype != torch.float32:
        raise NnrunError(
            f"The custom layer {spec.object} gave numbers of {output.dtype}; they must be torch.float32."
        )
    return tuple(output.shape[1:])


def _weights(spec: schema.Custom, module: torch.nn.Module) -> dict[str, Weight]:
    """What a module's networks have each for themselves."""
    found: dict[str, Weight] = {}
    for name, value in module.named_parameters():
        if torch.nn.parameter.is_lazy(value):
            raise NnrunError(
                f"The custom layer {spec.object} has a parameter {name} without a shape after its first call."
            )
        if value.requires_grad and value.dtype != torch.float32:
            raise NnrunError(
                f"The custom layer {spec.object} has a parameter {name} of {value.dtype}; what is learned "
                "must be torch.float32."
            )
        found[name] = _weight(spec, name, value, trainable=value.requires_grad)
    for name, buffer in module.named_buffers():
        found[name] = _weight(spec, name, buffer, trainable=False)
    return found


def _weight(spec: schema.Custom, name: str, value: Tensor, *, trainable: bool) -> Weight:
    dtype = str(value.dtype).removeprefix("torch.")
    strange = value.layout != torch.strided or value.is_complex() or dtype not in _DTYPES
    if strange or value.device.type != "cpu":
        raise NnrunError(
            f"The custom layer {spec.object} has {name}, {value.layout} of {value.dtype} on {value.device}; "
            f"it must be a dense tensor of {listing(_DTYPES)}, on the CPU: nnrun moves it to where it trains."
        )
    shape = tuple(value.shape)
    return Weight(shape, trainable=trainable, dtype=dtype) if shape else Weight((1,), "row", trainable, dtype)


def _refuse_other_weights(
    spec: schema.Custom, before: Mapping[str, Weight], now: Mapping[str, Weight]
) -> None:
    """Raise NnrunError where two modules of the same code, or one module later on, have other weights."""
    other = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if other:
        raise NnrunError(
            f"The custom layer {spec.object} does not always have the same parameters and buffers: "
            f"{other[0]} is sometimes missing, or its shape or type changes. Register all of them in the "
            "constructor."
        )


def _names(named: Any, remove_duplicate: bool) -> list[str]:
    return [name for name, _ in named(remove_duplicate=remove_duplicate)]


def _named(value: Any) -> str:
    return f"{'an' if type(value).__name__[0] in 'AEIOUaeiou' else 'a'} {type(value).__name__}"
