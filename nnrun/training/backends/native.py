"""Steps and evaluation of chains of dense and dropout layers in C++ (`native/cpp/steps.cpp`).

The first of them may be an embedding whose vectors are averaged over a row.

A small step's time in PyTorch is nearly all the cost of launching its operations one by one. In a large one
C++ multiplies matrices as fast as MKL, and saves what autograd and the optimizer's operations cost. It makes
all steps of a segment in one call for each replica, so that no replica's numbers depend on the others.
It is compiled once for all specs, in a few seconds. It takes the rows of a batch from where all rows lie:
dense ones, those of images in bytes, which a first layer flattens, sparse ones, and rows of words.
It knows the layers, losses and optimizers named here; a spec with anything else is not supported.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnrun.interrupts import stop_if_asked
from nnrun.lazy_torch import torch
from nnrun.limits import cxx_compiler, free_cpus, wanted_threads
from nnrun.native.library import load_library
from nnrun.spec import schema
from nnrun.spec.graph import Graph, graph_of
from nnrun.training.backends import native_job
from nnrun.training.backends.backend import SegmentResult
from nnrun.training.backends.native_job import address
from nnrun.training.backends.native_words import WordRows
from nnrun.training.losses import smoothed_targets
from nnrun.training.objective import TOTAL
from nnrun.training.problem import Head, SegmentData, TrainingProblem
from nnrun.training.train_state import TrainState, optimizers_of
from nnrun.training.weight_averaging import EMA_DECAY

if TYPE_CHECKING:
    from torch import Tensor

# The parameters of each component that the C++ code computes with. A spec that sets another one is not
# supported: nothing that is added to the schema is left out in silence.
_KNOWN: Mapping[type[schema.Config], set[str]] = {
    schema.Dense: {
        "units", "activation", "use_bias", "kernel_regularizer",
        "kernel_initializer", "bias_initializer",  # what training starts from is given
    },
    schema.Dropout: {"rate"},
    schema.Flatten: set(),
    schema.Embedding: {"output_dim", "input_dim", "mask_zero", "weights", "embeddings_initializer"},
    schema.GlobalAveragePooling: set(),
    schema.L1: {"l1"},
    schema.L2: {"l2"},
    schema.L1L2: {"l1", "l2"},
    schema.BinaryCrossentropy: {"label_smoothing"},
    schema.CategoricalCrossentropy: {"label_smoothing"},
    schema.SparseCategoricalCrossentropy: {"label_smoothing"},
    schema.Mse: set(),
    schema.Mae: set(),
    schema.Huber: {"delta"},
    schema.RmsProp: {"learning_rate", "rho", "momentum", "epsilon", "centered"},
    schema.Sgd: {"learning_rate", "momentum", "nesterov"},
    schema.Adam: {"learning_rate", "beta_1", "beta_2", "epsilon", "amsgrad"},
    schema.AdamW: {
        "learning_rate", "weight_decay", "exclude_from_weight_decay", "beta_1", "beta_2", "epsilon",
        "amsgrad",
    },
    schema.Adagrad: {"learning_rate", "initial_accumulator_value", "epsilon"},
    schema.Ema: {"decay"},
    schema.Swa: {"start"},  # the engine averages, at the ends of epochs
    # Of the whole spec: what others deal with, before, between or after the steps.
    schema.ExperimentSpec: {
        "name", "description", "seed", "dataset", "preprocessing", "layers", "init_weights", "loss",
        "optimizer", "metrics", "class_weight", "calibrate", "threshold", "learning_rate_schedule",
        "weight_averaging",
        "epochs", "batch_size", "shuffle", "deterministic", "early_stopping", "time_limit", "validation",
        "train_fraction", "linear_baseline", "linear_member", "sweep",
    },
}  # fmt: skip
# The same of a problem and its head.
_KNOWN_FIELDS: Mapping[type[Any], set[str]] = {
    TrainingProblem: {
        "network", "optimizer", "inputs", "heads", "batch_size", "per_replica", "averaging", "spec",
    },
    Head: {
        "num_outputs", "activation", "loss", "targets", "metrics", "scales", "unscaled_targets", "weights",
        "training_weights",
    },
}  # fmt: skip

_NONE: Mapping[str, Any] = {}

# Products of a call that are worth starting threads, which takes some 0.05 ms.
WORTH_THREADS = 10_000_000

# Of steps in C++ between two moments at which Python can answer a signal.
_SECONDS_A_CALL = 0.05

# Rows that are evaluated at a time: so few that the activations stay in the CPU's caches.
EVALUATED_AT_ONCE = 256


def unknown_in(spec: schema.ExperimentSpec) -> str | None:
    """What a spec has that the C++ code does not know; None where it knows all."""
    graph = graph_of(spec)
    if (order := unknown_order(graph)) is not None:
        return order
    if (unpooled := _unknown_of_words(graph.layers)) is not None:
        return unpooled
    regularizers = [getattr(layer, "kernel_regularizer", None) for layer in graph.layers]
    # Some may be None; there is no loss with `outputs`, which are not known.
    parts = (spec, *graph.layers, *regularizers, spec.loss, spec.optimizer, spec.weight_averaging)
    for part in filter(None, parts):
        name = getattr(part, "kind", None)
        if type(part) not in _KNOWN:
            return f"`{name}`"
        for key, field in type(part).model_fields.items():
            default = field.get_default(call_default_factory=True)
            if key not in _KNOWN[type(part)] and getattr(part, key) != default:
                return f"`{key}`" if name is None else f"`{key}` of `{name}`"
        if (activation := unknown_activation(part)) is not None:
            return f"the activation `{activation}`"
    return None


def unknown_order(graph: Graph) -> str | None:
    """How layers follow one another that C++ does not take; None for a chain that begins as it must."""
    if not graph.is_chain:
        return "branches, merges and shared layers"
    if any(isinstance(layer, schema.Flatten) for layer in graph.layers[1:]):
        return "`flatten` after another layer"
    return None


def unknown_activation(part: schema.Config) -> str | None:
    """The activation of a layer, where C++ does not know it; None too where it has none."""
    activation = getattr(part, "activation", native_job.ACTIVATIONS[0])
    return None if activation in native_job.ACTIVATIONS else str(activation)


def declare(library: ctypes.CDLL) -> None:
    """Say what the functions of the library take."""
    job, numbers = ctypes.POINTER(native_job.Job), ctypes.c_void_p
    library.train.argtypes = [job, ctypes.c_int64, numbers, ctypes.c_double, ctypes.c_int64]
    library.measure.argtypes = [job, ctypes.c_int64, numbers, numbers, ctypes.c_int64]
    library.train.restype = library.measure.restype = None


def threads_of_call(products: int) -> int:
    """How many threads share the work of a call with so many products; no bit of the result depends on it."""
    if products < WORTH_THREADS:
        return 1
    return wanted_threads() or free_cpus()


def _unknown_of_words(layers: Sequence[schema.Component]) -> str | None:
    """An embedding whose vectors are not averaged at once, or an average of something else."""
    embedded = isinstance(layers[0], schema.Embedding)
    averaged = isinstance(layers[1], schema.GlobalAveragePooling) if len(layers) > 1 else False
    if embedded and not averaged:
        return "`embedding` without `global_average_pooling` behind it"
    others = layers[2:] if embedded else layers
    if any(isinstance(layer, schema.GlobalAveragePooling) for layer in others):
        return "`global_average_pooling` but behind `embedding`"
    return None


class NativeBackend:
    """Training steps and evaluation in C++, for a problem that is supported.

    Args:
        problem: what is learned.
        library: from `nnrun.native.library`.
    """

    compiled: bool = True
    library: ClassVar[str] = "steps"
    """The name of its C++ file."""

    own_threads: ClassVar[bool] = True
    groups_parameters: ClassVar[bool] = False  # C++ takes each parameter of a replica as one contiguous array
    defers_rows: ClassVar[bool] = True

    def __init__(self, problem: TrainingProblem, library: ctypes.CDLL) -> None:
        assert problem.spec is not None, "not supported otherwise"
        self._problem, self._spec = problem, problem.spec
        ((self._port, self._head),) = problem.heads.items()
        ((self._input, rows),) = problem.inputs.items()
        self._rows: Any = rows
        optimizer, idle_decay = self._spec.optimizer, problem.optimizer.idle_decay
        self._optimizer = native_job.OptimizerConfig(
            kind=native_job.OPTIMIZERS.index(optimizer.kind),
            idle_decay=1.0 if idle_decay is None else idle_decay,
        )
        native_job.fill(self._optimizer, optimizer)
        rules = optimizers_of(problem)
        self._undecayed = {name for name, rule in rules.items() if rule is problem.optimizer.undecayed}
        declare(library)
        self._train, self._evaluate = library.train, library.measure
        graph = graph_of(self._spec)
        # C++ takes the numbers of a row one behind the other, as they lie in memory, and averages what it
        # picks from a table: these layers do nothing more.
        done = (schema.Flatten, schema.GlobalAveragePooling)
        self._nodes = [node for node in graph.nodes if not isinstance(node.layer, done)]
        self._words = WordRows(rows) if isinstance(graph.layers[0], schema.Embedding) else None
        units = [layer.units for layer in graph.layers if isinstance(layer, schema.Dense)]
        columns = [layer.output_dim for layer in graph.layers if isinstance(layer, schema.Embedding)]
        widths = [problem.elements_per_row, *columns, *units]
        self._products = sum(a * b for a, b in pairwise(widths))

    @staticmethod
    def unsupported(problem: TrainingProblem) -> str | None:
        """What C++ does not know, or what is missing."""
        spec = problem.spec
        if spec is None:
            return "the problem does not say what spec it comes from"
        if problem.device.type != "cpu":
            return "C++ trains on the CPU only"
        if len(problem.heads) != 1 or len(problem.inputs) != 1:
            return "C++ trains one chain of layers only"
        unknown = unknown_in(spec) or _unknown_field(problem) or _unknown_field(problem.head)
        if unknown is not None:
            return f"C++ does not support {unknown}"
        if cxx_compiler() is None:
            return "there is no C++ compiler on this machine (c++, g++ or clang++)"
        return None

    @classmethod
    def load(cls, problem: TrainingProblem, on_message: Callable[[str], None]) -> NativeBackend:
        """Load the library, which is compiled where it is not in the cache.

        Raises:
            NotCompiledError: the compiler failed.
        """
        return cls(problem, load_library(cls.library, on_message))

    def train(self, state: TrainState, data: SegmentData, rng: Any) -> SegmentResult:
        """Make the steps of a segment."""
        segment = data.segment
        averaging = self._problem.averaging
        each_step = averaging is not None and averaging.each_step
        job, logits, layers = self._job(
            data,
            state.forward_parameters,
            segment.batch_size,
            state.slots,
            state.averages if each_step else {},
        )
        for layer, node in zip(layers, self._nodes, strict=True):
            if rng is not None and layer.kind == native_job.KINDS.index("dropout"):
                layer.keys = address(rng.key(node.path))
            if not (layer.l1 or layer.l2):  # a penalty changes every row of a kernel at every step
                layer.seen = address(state.last_update.get(f"{node.weights_path}.weight"))
        rates_R = state.learning_rates_of_each(self._problem.optimizer.learning_rate)
        losses = torch.empty(len(segment.replicas), segment.steps)
        job.rates, job.updates, job.losses = address(rates_R), address(state.steps_R), address(losses)
        job.first_row = segment.first_row
        job.ema_decays = address(state.per_replica.get(EMA_DECAY))
        made = torch.zeros(len(segment.replicas), dtype=torch.int64)
        threads = self._threads(segment.rows_GN.size)
        while int(made.min()) < segment.steps:
            stop_if_asked()
            self._train(job, len(made), address(made), _SECONDS_A_CALL, threads)
        return SegmentResult({TOTAL: losses}, {self._port: logits})

    def evaluate(self, parameters: Mapping[str, Tensor], data: SegmentData) -> SegmentResult:
        """Losses and logits of a segment that is a single batch."""
        job, logits, _ = self._job(data, parameters, EVALUATED_AT_ONCE)
        numbers = torch.tensor(data.segment.replicas)
        losses = torch.empty(len(numbers), 1, dtype=torch.float64)
        stop_if_asked()
        threads = self._threads(data.segment.rows_GN.size)
        self._evaluate(job, len(numbers), address(numbers), address(losses), threads)
        return SegmentResult({TOTAL: losses}, {self._port: logits})

    def _threads(self, rows: int) -> int:
        return threads_of_call(rows * self._products)

    def _job(
        self,
        data: SegmentData,
        parameters: Mapping[str, Tensor],
        batch_size: int,
        slots: Mapping[str, Sequence[Tensor]] = _NONE,
        averages: Mapping[str, Tensor] = _NONE,
    ) -> tuple[native_job.Job, Tensor, ctypes.Array[native_job.Layer]]:
        """What both calls read, the logits that they write, and the layers."""
        rows, spec = data.targets[self._port], self._spec
        replicas, count = data.segment.rows_GN.shape
        logits = torch.empty(replicas, count, self._head.num_outputs)
        loss, targets = _compared(spec.own_loss, rows.targets, self._head.num_outputs)
        classes = targets.dtype == torch.int64
        held: list[Any] = [targets]  # C++ knows addresses alone, and these tensors have no other owner
        layers = self._layers(parameters, slots, averages, held)
        job = native_job.Job(
            count=count,
            batch=batch_size,
            layers=len(layers),
            layer=layers,
            optimizer=ctypes.pointer(self._optimizer),
            targets=None if classes else address(targets),
            classes=address(targets) if classes else None,
            weights=address(rows.weights),
            logits=address(logits),
            loss=native_job.LOSSES.index(loss.kind),
        )
        inputs: Any = data.inputs[self._input]
        rows_GN, words = data.segment.rows_GN, None
        if self._words is None:
            rows_GN = inputs.rows_in_matrix(data.data_index, rows_GN)
        else:
            words, rows_GN = self._words.of(rows_GN, data.data_index, inputs, layers[0].inputs)
        held += [torch.from_numpy(np.ascontiguousarray(rows_GN)), words]
        job.rows = address(held[-2])
        if words is not None:
            job.words, job.places = address(words), words.shape[1]
        elif self._matrix is not None:
            job.row_starts, job.columns, job.values = map(address, self._matrix)
        else:
            numbers = inputs.x_SNF if self._rows.streamed else self._numbers
            held.append(numbers)  # rows that are streamed are there for this segment alone
            if inputs.values is None:
                job.inputs = address(numbers)
            else:
                values_VC256 = inputs.values_of(data.data_index).contiguous()
                held.append(values_VC256)
                job.bytes, job.byte_values = address(numbers), address(values_VC256)
                job.byte_columns, job.own_byte_values = values_VC256.shape[1], len(values_VC256) > 1
        native_job.fill(job, loss)
        job.held = held
        return job, logits, layers

    @cached_property
    def _numbers(self) -> Tensor:
        """Dense rows as C++ reads them, float32 or bytes: nothing is copied that is contiguous."""
        numbers: Tensor = self._rows.x_SNF.contiguous()
        return numbers

    @cached_property
    def _matrix(self) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Sparse rows as C++ reads them: row starts, columns, and values; None where all values are 1."""
        if self._rows.dense:
            return None
        matrix = self._rows.matrix  # nothing is copied that has the right type
        values = None
        if not self._rows.all_ones:
            values = torch.from_numpy(np.ascontiguousarray(matrix.data, dtype=np.float32))
        columns = torch.from_numpy(np.ascontiguousarray(matrix.indices, dtype=np.int32))
        return torch.from_numpy(matrix.indptr.astype(np.int64)), columns, values

    def _layers(
        self,
        parameters: Mapping[str, Tensor],
        slots: Mapping[str, Sequence[Tensor]],
        averages: Mapping[str, Tensor],
        held: list[Any],
    ) -> ctypes.Array[native_job.Layer]:
        """The layers of all replicas. What is made for them is added to `held`."""
        layers = (native_job.Layer * len(self._nodes))()
        width = next(iter(parameters.values())).shape[1]
        for layer, node in zip(layers, self._nodes, strict=True):
            spec, path = node.layer, node.weights_path
            layer.inputs, layer.kind = width, native_job.KINDS.index(spec.kind)
            if isinstance(spec, schema.Dropout):
                layer.rate, layer.scale = spec.rate, 1.0 / (1.0 - spec.rate)
            else:
                if isinstance(spec, schema.Embedding):
                    width, layer.mask_zero = spec.output_dim, spec.mask_zero
                    layer.place_squares = f"{path}.weight" in self._problem.place_squares
                else:
                    assert isinstance(spec, schema.Dense), "not supported otherwise"
                    width = spec.units
                    layer.activation = native_job.ACTIVATIONS.index(spec.activation)
                for name, array in (("weight", "kernel"), ("bias", "bias")):
                    full = f"{path}.{name}"
                    if full in parameters:
                        own = native_job.parameter(
                            parameters[full],
                            slots.get(full, ()),
                            averages.get(full),
                            decays=full not in self._undecayed,
                        )
                        setattr(layer, array, own)
                for name in ("l1", "l2"):
                    strength_R = parameters.get(f"{path}.weight.{name}")
                    strength = getattr(getattr(spec, "kernel_regularizer", None), name, 0.0)
                    if strength_R is None and strength:
                        strength_R = torch.full((len(parameters[f"{path}.weight"]),), strength)
                        held.append(strength_R)
                    setattr(layer, name, address(strength_R))
            layer.units = width
        return layers


def _compared(loss: schema.Component, targets: Tensor, num_outputs: int) -> tuple[schema.Component, Tensor]:
    """The loss that C++ computes, and the targets that it compares with: smoothed where the spec says so.

    Smoothed class indices are shares of the classes, so that the loss is the one of these.
    """
    if isinstance(loss, schema.SparseCategoricalCrossentropy) and loss.label_smoothing:
        targets = torch.nn.functional.one_hot(targets, num_outputs).to(torch.float32)
        loss = schema.CategoricalCrossentropy(label_smoothing=loss.label_smoothing)
    return loss, smoothed_targets(targets, loss)


def _unknown_field(part: TrainingProblem | Head) -> str | None:
    """A field that is set and that C++ does not take into account."""
    known = _KNOWN_FIELDS[TrainingProblem if isinstance(part, TrainingProblem) else Head]
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name not in known and (isinstance(value, torch.Tensor) or value != field.default):
            return f"`{field.name}`"
    return None
