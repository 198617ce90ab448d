"""Optimizers by their spec names, with Keras 3's update rules (keras/src/optimizers), and gradient clipping.

An optimizer is `first_slots`, from which the state of a parameter is made, and `change`, which changes a
parameter and its state. All values are stacked over replicas; `steps_R` counts each replica's updates, the
present one included, since replicas with fewer rows make fewer. Replicas may have their own learning rates.

An optimizer that keeps a mean of squared gradients takes, for an embedding's table, the squares of the
gradients of the places where a word stands, added, and not the square of their sum: what Keras 3 computes on
TensorFlow, where such a gradient is a `tf.IndexedSlices` (keras/src/backend/tensorflow/sparse.py). Adamax,
which keeps the largest gradient, takes their sum, as do all under gradient clipping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from nnrun.lazy_torch import torch
from nnrun.spec import schema
from nnrun.training import update_kernel

if TYPE_CHECKING:
    from torch import Tensor

Slots = list["Tensor"]
Rate: TypeAlias = "float | Tensor"
"""A learning rate: one for all, or a tensor that broadcasts against the parameter."""


Change = Callable[..., None]
"""(parameter, gradient, its slots, steps_R, rate) → None; changes the parameter and the slots, in place.

An optimizer with `squares` takes a sixth: (R, ...) squares that stand for gradient * gradient, or None.
"""


@dataclass(frozen=True)
class Optimizer:
    """How parameters follow their gradients.

    Attributes:
        learning_rate: the step size, as the history records it.
        first_slots: the first value of each slot. A slot is a tensor of a parameter's shape; all of a
            parameter are its state.
        change: the update.
        idle_decay: what a step with a zero gradient multiplies the slots by, where it leaves the parameter as
            it is; None where it moves the parameter. Rows of a kernel that no batch meets can then wait.
        elementwise: whether each number of a parameter is updated by its own history alone, so that several
            parameters may be updated as one.
        squares: whether it keeps squares of gradients, and takes others than those of the gradient.
        of_matrix: (name of a parameter that is a matrix in Keras, its layer's kind, its shape in Keras) → the
            optimizer of it; None where that is this one. None of an optimizer with one rule for all.
        averages: whether the last slot is the moving average of the parameter, which training ends with.
        kernel: the C++ library that `change` calls on a CPU; None for none.
        undecayed: the same without weight decay, for what `excludes` says; None where all decays or nothing.
        excludes: (name of a parameter, its layer's kind) → whether it does not decay.
    """

    learning_rate: float
    first_slots: tuple[float, ...]
    change: Change
    idle_decay: float | None = None
    elementwise: bool = True
    squares: bool = False
    of_matrix: Callable[[str, str, tuple[int, ...]], Optimizer | None] | None = None
    averages: bool = False
    kernel: str | None = None
    undecayed: Optimizer | None = None
    excludes: Callable[[str, str], bool] = lambda name, kind: False

    def slots(self, parameter: Tensor) -> Slots:
        """The state of a parameter before its first update."""
        return [torch.full_like(parameter, value) for value in self.first_slots]

    def update(
        self,
        parameter: Tensor,
        gradient: Tensor,
        slots: Slots,
        steps_R: Tensor,
        rates_R: Rate | None = None,
        squares: Tensor | None = None,
    ) -> None:
        """Update a parameter, (R, ...).

        Args:
            parameter, gradient, slots: of one shape, and its state.
            steps_R: the present step of each replica, from 1.
            rates_R: another learning rate than the optimizer's: one for all replicas, or one for each.
            squares: what stands for the gradient's squares; None for gradient * gradient.
        """
        rate = self.learning_rate if rates_R is None else rates_R
        if isinstance(rate, torch.Tensor):
            rate = rate.view(-1, *[1] * (parameter.dim() - 1))
        self.step(parameter, gradient, slots, steps_R, rate, squares)

    def step(
        self, w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None
    ) -> None:
        """`change`, told of the squares if it takes them."""
        if self.squares and squares is not None:
            self.change(w, g, slots, steps_R, lr, squares)
        else:
            self.change(w, g, slots, steps_R, lr)

    def update_rows(
        self,
        parameter: Tensor,
        gradient: Tensor,
        slots: Slots,
        seen_RF: Tensor,
        steps_R: Tensor,
        rates_R: Rate | None = None,
    ) -> None:
        """Update the rows of which there is a gradient, as if all rows had been updated at every step.

        Args:
            parameter: (R, F, U).
            gradient: (R, F, U), sparse with the rows that are not zero, or dense with all of them.
            slots: its state.
            seen_RF: (R, F) the step in which each row was updated last; 0 at first.
            steps_R: the present step of each replica, from 1.
            rates_R: as for `update`.
        """
        assert self.idle_decay is not None, "only where idle rows can wait"
        replicas, features, _ = parameter.shape
        if gradient.is_sparse:
            replica, column = gradient.indices()
            flat, values = replica * features + column, gradient.values()
        else:
            flat = torch.arange(replicas * features, device=gradient.device)
            replica, values = flat // features, gradient.reshape(-1, gradient.shape[2])
        steps, seen = steps_R.to(seen_RF.dtype)[replica], seen_RF.view(-1)
        picked, *kept = (_rows(whole).index_select(0, flat) for whole in (parameter, *slots))
        if kept and self.idle_decay != 1:
            factor = self.idle_decay ** (steps - seen[flat] - 1)
            for slot in kept:
                slot.mul_(factor.unsqueeze(1))
        rate = self.learning_rate if rates_R is None else rates_R
        if isinstance(rate, torch.Tensor):
            rate = rate[replica].unsqueeze(1)
        self.change(picked, values, kept, steps_R, rate)
        for whole, part in zip((parameter, *slots), (picked, *kept), strict=True):
            _rows(whole).index_copy_(0, flat, part)
        seen.index_copy_(0, flat, steps)


def _rows(values_RFU: Tensor) -> Tensor:
    """(R*F, U): a view of the rows of all replicas."""
    return values_RFU.detach().view(-1, values_RFU.shape[2])


def _zeros(count: int) -> tuple[float, ...]:
    return (0.0,) * count


def _add(target: Tensor, a: Tensor, rate: Rate) -> None:
    """target += rate * a."""
    if isinstance(rate, torch.Tensor):
        target.addcmul_(a, rate.to(a.dtype))
    else:
        target.add_(a, alpha=rate)


def _add_product(target: Tensor, a: Tensor, b: Tensor, rate: Rate) -> None:
    """target += rate * a * b."""
    if isinstance(rate, torch.Tensor):
        target.addcmul_(a * rate.to(a.dtype), b)
    else:
        target.addcmul_(a, b, value=rate)


def _add_squares(target: Tensor, g: Tensor, squares: Tensor | None, factor: float = 1.0) -> None:
    """target += factor * g * g, or factor * squares."""
    if squares is None:
        target.addcmul_(g, g, value=factor)
    else:
        target.add_(squares, alpha=factor)


def _rmsprop(spec: schema.RmsProp) -> Optimizer:
    rho, eps = spec.rho, spec.epsilon

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        square, *rest = slots
        _add_squares(square.mul_(rho), g, squares, 1 - rho)
        if spec.centered:
            mean = rest.pop(0)
            mean.mul_(rho).add_(g, alpha=1 - rho)
            # Rounding may leave a mean square minus a squared mean below zero.
            inverse_root = square.addcmul(mean, mean, value=-1).clamp_(min=0).add_(eps).rsqrt_()
        else:
            inverse_root = square.add(eps).rsqrt_()
        if spec.momentum > 0:
            velocity = rest.pop(0)
            _add_product(velocity.mul_(spec.momentum), g, inverse_root, lr)
            w.sub_(velocity)
        else:
            _add_product(w, g, inverse_root, -lr)

    first_slots = _zeros(1 + spec.centered + (spec.momentum > 0))
    idle_decay = rho if spec.momentum == 0 else None
    return Optimizer(spec.learning_rate, first_slots, change, idle_decay=idle_decay, squares=True)


def _sgd(spec: schema.Sgd) -> Optimizer:
    momentum = spec.momentum

    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        if momentum == 0:
            _add(w, g, -lr)
            return
        (velocity,) = slots
        _add(velocity.mul_(momentum), g, -lr)
        if spec.nesterov:
            _add(w.add_(velocity, alpha=momentum), g, -lr)
        else:
            w.add_(velocity)

    first_slots = _zeros(int(momentum > 0))
    return Optimizer(spec.learning_rate, first_slots, change, idle_decay=1.0 if momentum == 0 else None)


def _adam(spec: schema.Adam | schema.AdamW) -> Optimizer:
    change = _adam_change(spec.beta_1, spec.beta_2, spec.epsilon)
    return Optimizer(spec.learning_rate, _zeros(2 + spec.amsgrad), change, squares=True)


def _adam_change(b1: float, b2: float, epsilon: float, ratio: float = 1.0) -> Change:
    """Adam's update at `ratio` times the learning rate; with a third slot that of AMSGrad."""

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        mean, square, *largest = slots
        steps = steps_R.view(-1, *[1] * (w.dim() - 1))
        rate = (ratio * lr * (1 - b2**steps).sqrt() / (1 - b1**steps)).to(w.dtype)
        mean.lerp_(g, 1 - b1)
        _add_squares(square.mul_(b2), g, squares, 1 - b2)
        if largest:
            square = torch.maximum(largest[0], square, out=largest[0])
        w.addcdiv_(mean * rate, square.sqrt().add_(epsilon), value=-1)

    return change


def _muon(spec: schema.Muon) -> Optimizer:
    adam = _adam_change(spec.adam_beta_1, spec.adam_beta_2, spec.epsilon, spec.adam_lr_ratio)
    places = [str(place) for place in spec.exclude_layers]

    def of_matrix(name: str, kind: str, shape: tuple[int, ...]) -> Optimizer | None:
        if spec.exclude_embeddings and "embedding" in kind:
            return None
        if any(name.startswith(f"{place}.") for place in places):
            return None
        return Optimizer(spec.learning_rate, _zeros(1), _muon_change(spec, shape), elementwise=False)

    return Optimizer(spec.learning_rate, _zeros(2), adam, of_matrix=of_matrix, squares=True)


def _muon_change(spec: schema.Muon, shape: tuple[int, ...]) -> Change:
    """A step of momentum, made orthogonal, of a parameter that is a matrix of this shape."""
    factor = 1.0 if spec.rms_rate is None else spec.rms_rate * math.sqrt(max(shape))

    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        (momentum,) = slots
        momentum.mul_(spec.momentum).add_(g)
        ahead = g + spec.momentum * momentum if spec.nesterov else momentum
        update = _orthogonal(ahead.view(-1, *shape), spec)
        _add(w, update.view(w.shape), lr * -factor)

    return change


def _orthogonal(x_RMN: Tensor, spec: schema.Muon) -> Tensor:
    """Each replica's matrix with its singular values brought near 1, by the Newton-Schulz iteration.

    The smaller of M and N is that of the products. Keras does not round to bfloat16, as Muon's authors do.
    """
    a, b, c = spec.muon_a, spec.muon_b, spec.muon_c
    tall = x_RMN.shape[1] > x_RMN.shape[2]
    x = x_RMN.mT if tall else x_RMN
    x = x / (x.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7)
    for _ in range(spec.ns_steps):
        squares = x @ x.mT
        x = a * x + (b * squares + c * squares @ squares) @ x
    found: Tensor = x.mT if tall else x
    return found


def _adagrad(spec: schema.Adagrad) -> Optimizer:
    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        (accumulator,) = slots
        _add_squares(accumulator, g, squares)
        root = accumulator.add(spec.epsilon).sqrt_()
        if isinstance(lr, torch.Tensor):
            w.addcdiv_(g * lr.to(g.dtype), root, value=-1)
        else:
            w.addcdiv_(g, root, value=-lr)

    first_slots = (spec.initial_accumulator_value,)
    return Optimizer(spec.learning_rate, first_slots, change, idle_decay=1.0, squares=True)


def _of_steps(steps_R: Tensor, w: Tensor) -> Tensor:
    """The steps of each replica, to broadcast against a parameter."""
    return steps_R.view(-1, *[1] * (w.dim() - 1))


def _as(w: Tensor, value: Rate) -> Rate:
    """A rate in the parameter's precision."""
    return value.to(w.dtype) if isinstance(value, torch.Tensor) else value


def _nadam(spec: schema.Nadam) -> Optimizer:
    b1, b2 = spec.beta_1, spec.beta_2

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        mean, square, product = slots
        steps = _of_steps(steps_R, w)
        u, next_u = (b1 * (1 - 0.5 * 0.96**step) for step in (steps, steps + 1))
        u, next_u = u.to(w.dtype), next_u.to(w.dtype)
        product.mul_(u)
        mean.lerp_(g, 1 - b1)
        _add_squares(square.mul_(b2), g, squares, 1 - b2)
        ahead = mean * next_u / (1 - product * next_u) + g * (1 - u) / (1 - product)
        root = (square / (1 - b2**steps).to(w.dtype)).sqrt_().add_(spec.epsilon)
        w.addcdiv_(ahead * _as(w, lr), root, value=-1)

    return Optimizer(spec.learning_rate, (0.0, 0.0, 1.0), change, squares=True)


def _adamax(spec: schema.Adamax) -> Optimizer:
    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        mean, largest = slots
        rate = (lr / (1 - spec.beta_1 ** _of_steps(steps_R, w))).to(w.dtype)
        mean.lerp_(g, 1 - spec.beta_1)
        torch.maximum(largest.mul_(spec.beta_2), g.abs(), out=largest)
        w.addcdiv_(mean * rate, largest + spec.epsilon, value=-1)

    return Optimizer(spec.learning_rate, _zeros(2), change)


def _adadelta(spec: schema.Adadelta) -> Optimizer:
    rho, eps = spec.rho, spec.epsilon

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        square, moved = slots
        _add_squares(square.mul_(rho), g, squares, 1 - rho)
        ratio = (moved + eps).sqrt_() / (square + eps).sqrt_()
        delta = g * ratio
        _add_squares(moved.mul_(rho), delta, None if squares is None else ratio.square() * squares, 1 - rho)
        _add(w, delta, -lr)

    return Optimizer(spec.learning_rate, _zeros(2), change, idle_decay=rho, squares=True)


def _lion(spec: schema.Lion) -> Optimizer:
    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        (mean,) = slots
        _add(w, mean.lerp(g, 1 - spec.beta_1).sign_(), -lr)
        mean.lerp_(g, 1 - spec.beta_2)

    return Optimizer(spec.learning_rate, _zeros(1), change)


def _lamb(spec: schema.Lamb) -> Optimizer:
    b1, b2 = spec.beta_1, spec.beta_2

    def size(values: Tensor) -> Tensor:
        """The norm of each replica's array."""
        return _of_steps(values.flatten(1).norm(dim=1), values)

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        mean, square = slots
        steps = _of_steps(steps_R, w)
        mean.lerp_(g, 1 - b1)
        _add_squares(square.mul_(b2), g, squares, 1 - b2)
        root = (square / (1 - b2**steps).to(w.dtype)).sqrt_().add_(spec.epsilon)
        update = mean / (1 - b1**steps).to(w.dtype) / root
        own, theirs = size(w), size(update)
        ratio = torch.where((own > 0) & (theirs > 0), own / theirs, torch.ones_like(own))
        w.sub_(update * ratio * _as(w, lr))

    return Optimizer(spec.learning_rate, _zeros(2), change, elementwise=False, squares=True)


def _ftrl(spec: schema.Ftrl) -> Optimizer:
    power, l1 = -spec.learning_rate_power, spec.l1_regularization_strength
    shrinkage, l2 = spec.l2_shrinkage_regularization_strength, spec.l2_regularization_strength

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        accumulator, linear = slots
        rate = _as(w, lr)
        before = accumulator**power
        _add_squares(accumulator, g, squares)
        after = accumulator**power
        linear.add_(g).add_(w, alpha=2 * shrinkage).sub_((after - before) / rate * w)
        quadratic = after / rate + 2 * (l2 + spec.beta / (2 * rate))
        w.copy_((linear.clamp(-l1, l1) - linear) / quadratic)

    return Optimizer(spec.learning_rate, (spec.initial_accumulator_value, 0.0), change, squares=True)


OPTIMIZERS: Mapping[type[schema.Component], Callable[..., Optimizer]] = {
    schema.RmsProp: _rmsprop,
    schema.Sgd: _sgd,
    schema.Adam: _adam,
    schema.AdamW: _adam,
    schema.Adagrad: _adagrad,
    schema.Nadam: _nadam,
    schema.Adamax: _adamax,
    schema.Adadelta: _adadelta,
    schema.Lion: _lion,
    schema.Lamb: _lamb,
    schema.Ftrl: _ftrl,
    schema.Muon: _muon,
}


def build_optimizer(spec: schema.Component) -> Optimizer:
    """The optimizer that a spec names."""
    optimizer = OPTIMIZERS[type(spec)](spec)
    if isinstance(spec, update_kernel.KNOWN):
        optimizer = _in_cpp(optimizer, spec)
    if not isinstance(spec, schema.OptimizerComponent):
        return optimizer
    of_matrix, options = optimizer.of_matrix, spec
    if of_matrix is None:
        return _with_options(optimizer, spec, spec.weight_decay)

    def found(name: str, kind: str, shape: tuple[int, ...]) -> Optimizer | None:
        own = of_matrix(name, kind, shape)
        return None if own is None else _with_options(own, options, options.weight_decay)

    return replace(_with_options(optimizer, spec, spec.decay_of_others), of_matrix=found)


def _in_cpp(optimizer: Optimizer, spec: schema.Component) -> Optimizer:
    """The same by C++ where it is there and can read the tensors."""
    update = update_kernel.update_by(spec)

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        if not update(w, g, slots, steps_R, lr, squares):
            optimizer.step(w, g, slots, steps_R, lr, squares)

    return replace(optimizer, change=change, kernel=update_kernel.LIBRARY)


def _with_options(optimizer: Optimizer, spec: schema.OptimizerComponent, decay: float) -> Optimizer:
    """The same with what every optimizer can do."""
    if decay and spec.exclude_from_weight_decay:
        entries = [str(entry) for entry in spec.exclude_from_weight_decay]
        return replace(
            _with_options(optimizer, spec.model_copy(update={"exclude_from_weight_decay": []}), decay),
            undecayed=_with_options(optimizer, spec, 0.0),
            excludes=lambda name, kind: any(_is_excluded(entry, name, kind) for entry in entries),
        )
    if decay:
        optimizer = _decaying(optimizer, decay)
    if spec.gradient_accumulation_steps is not None:
        optimizer = _accumulating(optimizer, spec.gradient_accumulation_steps)
    return _averaging(optimizer, spec) if spec.use_ema else optimizer


def _is_excluded(entry: str, name: str, kind: str) -> bool:
    """Whether an entry of `exclude_from_weight_decay` means a parameter of a layer of this kind."""
    array = name.rpartition(".")[2]
    if entry == "bias":
        return "bias" in array
    if entry == "gamma":
        of_members = array in ("r", "s")
        return of_members or (kind.endswith("normalization") and array == "weight")
    if entry == "embeddings":
        return "embedding" in kind
    return name.startswith(f"{entry}.")


def _decaying(optimizer: Optimizer, decay: float) -> Optimizer:
    """The same after w -= rate * decay * w."""

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        w.mul_(_as(w, 1 - lr * decay))
        optimizer.step(w, g, slots, steps_R, lr, squares)

    return replace(optimizer, change=change, idle_decay=None)


def _accumulating(optimizer: Optimizer, count: int) -> Optimizer:
    """The same once in `count` steps, by the mean of their gradients, which the last slot adds up.

    Replicas may be at different steps: each is updated in the steps that are due for it.
    """

    def change(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate) -> None:
        *own, total = slots
        total.add_(g)
        due = _of_steps(steps_R % count == 0, w)
        before = [value.clone() for value in (w, *own)]
        optimizer.change(w, total / count, own, torch.ceil(steps_R / count), lr)
        for value, old in zip((w, *own), before, strict=True):
            value.copy_(torch.where(due, value, old))
        total.copy_(torch.where(due, torch.zeros_like(total), total))

    # The mean of several gradients is dense in Keras too.
    first_slots = (*optimizer.first_slots, 0.0)
    return replace(optimizer, first_slots=first_slots, change=change, idle_decay=None, squares=False)


def _averaging(optimizer: Optimizer, spec: schema.OptimizerComponent) -> Optimizer:
    """The same, with the moving average of the parameter in the last slot (Keras's `use_ema`).

    As in Keras the first update sets the average to the parameter, accumulated gradients count as no update
    before there are enough of them, and constraints do not reach the average.
    """
    count, frequency = spec.gradient_accumulation_steps or 1, spec.ema_overwrite_frequency

    def change(
        w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor, lr: Rate, squares: Tensor | None = None
    ) -> None:
        *own, average = slots
        optimizer.step(w, g, own, steps_R, lr, squares)
        updates_before = _of_steps(torch.floor((steps_R - 1) / count), w)
        share = (1 - spec.ema_momentum * (updates_before > 0).double()).to(w.dtype)
        average.lerp_(w, share.expand_as(w))
        if frequency is not None:
            due = (updates_before + 1) % frequency == 0
            w.copy_(torch.where(due, average, w))

    first_slots = (*optimizer.first_slots, 0.0)
    return replace(optimizer, first_slots=first_slots, change=change, idle_decay=None, averages=True)


Gradients = dict[str, "Tensor"]
Clip = Callable[[Gradients], Gradients]
"""Name → (R, ...) gradients, dense or sparse in their first two dimensions, to the same within the limits."""


def build_clip(spec: schema.GradientClip | None) -> Clip | None:
    """What a spec's `gradient_clip` does; None where gradients are left as they are."""
    if spec is None:
        return None
    if spec.norm is not None:
        norm = spec.norm
        return lambda gradients: _clip_norm(gradients, norm)
    assert spec.value is not None, "lint asks for one of the two"
    value = spec.value
    return lambda gradients: {
        name: _with_values(g, _values(g).clamp(-value, value)) for name, g in gradients.items()
    }


def _clip_norm(gradients: Gradients, limit: float) -> Gradients:
    """Scale all gradients of a replica down to a norm of `limit`, where theirs together is larger."""
    norm_R = _squares(gradients.values()).sqrt()
    # Zero times a gradient that is not finite must not hide it: the last term makes all of them NaN.
    scale_R = limit * (1 / norm_R).clamp(max=1 / limit) + (norm_R - norm_R)
    return {name: _scaled(g, scale_R) for name, g in gradients.items()}


def _squares(gradients: Iterable[Tensor]) -> Tensor:
    """(R,): the sum of the squares of each replica's gradients."""
    sums = []
    for gradient in gradients:
        if gradient.is_sparse:
            zeros = torch.zeros(len(gradient), device=gradient.device)
            rows = gradient.values().square().flatten(1).sum(1)
            sums.append(zeros.index_add(0, gradient.indices()[0], rows))
        else:
            sums.append(gradient.square().flatten(1).sum(1))
    return torch.stack(sums).sum(0)


def _scaled(gradient: Tensor, scale_R: Tensor) -> Tensor:
    if gradient.is_sparse:
        return _with_values(gradient, gradient.values() * scale_R[gradient.indices()[0]].unsqueeze(1))
    return gradient * scale_R.view(-1, *[1] * (gradient.dim() - 1))


def _values(gradient: Tensor) -> Tensor:
    return gradient.values() if gradient.is_sparse else gradient


def _with_values(gradient: Tensor, values: Tensor) -> Tensor:
    """The same gradient with other values, in the rows that it has."""
    if not gradient.is_sparse:
        return values
    return torch.sparse_coo_tensor(
        gradient.indices(), values, gradient.shape, is_coalesced=True, check_invariants=False
    )
