"""Optimizers by their spec names, with Keras 3's update rules (keras/src/optimizers).

An optimizer is two functions: `slots` gives the state of one parameter, `update` changes a parameter and its
state. All values are stacked over replicas; `steps_R` counts each replica's updates, the present one
included, since replicas with fewer rows make fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nnrun.spec import schema

Slots = list[Tensor]


@dataclass(frozen=True)
class Optimizer:
    """How parameters follow their gradients.

    Attributes:
        learning_rate: the step size, as the history records it.
        slots: parameter → its first state, a list of tensors of the parameter's shape.
        update: (parameter, gradient, its slots, steps_R) → None; changes the parameter and the slots.
        idle_decay: what a step with a zero gradient multiplies the slots by, where it leaves the parameter as
            it is; None where it moves the parameter. Rows of a kernel that no batch meets can then wait.
    """

    learning_rate: float
    slots: Callable[[Tensor], Slots]
    update: Callable[[Tensor, Tensor, Slots, Tensor], None]
    idle_decay: float | None = None

    def update_rows(
        self, parameter: Tensor, gradient: Tensor, slots: Slots, seen_RF: Tensor, steps_R: Tensor
    ) -> None:
        """Update the rows of which there is a gradient, as if all rows had been updated at every step.

        Args:
            parameter: (R, F, U).
            gradient: (R, F, U), sparse with the rows that are not zero, or dense with all of them.
            slots: its state.
            seen_RF: (R, F) the step in which each row was updated last; 0 at first.
            steps_R: the present step of each replica, from 1.
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
        self.update(picked, values, kept, steps_R)
        for whole, part in zip((parameter, *slots), (picked, *kept), strict=True):
            _rows(whole).index_copy_(0, flat, part)
        seen.index_copy_(0, flat, steps)


def _rows(values_RFU: Tensor) -> Tensor:
    """(R*F, U): a view of the rows of all replicas."""
    return values_RFU.detach().view(-1, values_RFU.shape[2])


def _zeros(count: int) -> Callable[[Tensor], Slots]:
    return lambda parameter: [torch.zeros_like(parameter) for _ in range(count)]


def _rmsprop(spec: schema.RmsProp) -> Optimizer:
    lr, rho, eps = spec.learning_rate, spec.rho, spec.epsilon

    def update(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor) -> None:
        square, *rest = slots
        square.mul_(rho).addcmul_(g, g, value=1 - rho)
        if spec.centered:
            mean = rest.pop(0)
            mean.mul_(rho).add_(g, alpha=1 - rho)
            # Rounding may leave a mean square minus a squared mean below zero.
            inverse_root = square.addcmul(mean, mean, value=-1).clamp_(min=0).add_(eps).rsqrt_()
        else:
            inverse_root = square.add(eps).rsqrt_()
        if spec.momentum > 0:
            velocity = rest.pop(0)
            velocity.mul_(spec.momentum).addcmul_(g, inverse_root, value=lr)
            w.sub_(velocity)
        else:
            w.addcmul_(g, inverse_root, value=-lr)

    slots = _zeros(1 + spec.centered + (spec.momentum > 0))
    return Optimizer(lr, slots, update, idle_decay=rho if spec.momentum == 0 else None)


def _sgd(spec: schema.Sgd) -> Optimizer:
    lr, momentum = spec.learning_rate, spec.momentum

    def update(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor) -> None:
        if momentum == 0:
            w.add_(g, alpha=-lr)
            return
        (velocity,) = slots
        velocity.mul_(momentum).add_(g, alpha=-lr)
        if spec.nesterov:
            w.add_(velocity, alpha=momentum).add_(g, alpha=-lr)
        else:
            w.add_(velocity)

    return Optimizer(lr, _zeros(int(momentum > 0)), update, idle_decay=1.0 if momentum == 0 else None)


def _adam(spec: schema.Adam | schema.AdamW) -> Optimizer:
    lr, b1, b2 = spec.learning_rate, spec.beta_1, spec.beta_2
    decay = spec.weight_decay if isinstance(spec, schema.AdamW) else 0.0

    def update(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor) -> None:
        mean, square, *largest = slots
        rate_R = lr * (1 - b2**steps_R).sqrt() / (1 - b1**steps_R)
        rate = rate_R.to(w.dtype).view(-1, *[1] * (w.dim() - 1))
        if decay:
            w.mul_(1 - lr * decay)
        mean.lerp_(g, 1 - b1)
        square.mul_(b2).addcmul_(g, g, value=1 - b2)
        if largest:
            # Not `out=`: torch.compile takes no view there.
            square = largest[0].copy_(torch.maximum(largest[0], square))
        w.addcdiv_(mean * rate, square.sqrt().add_(spec.epsilon), value=-1)

    return Optimizer(lr, _zeros(2 + spec.amsgrad), update)


def _adagrad(spec: schema.Adagrad) -> Optimizer:
    lr = spec.learning_rate

    def slots(parameter: Tensor) -> Slots:
        return [torch.full_like(parameter, spec.initial_accumulator_value)]

    def update(w: Tensor, g: Tensor, slots: Slots, steps_R: Tensor) -> None:
        (accumulator,) = slots
        accumulator.addcmul_(g, g)
        w.addcdiv_(g, accumulator.add(spec.epsilon).sqrt_(), value=-lr)

    return Optimizer(lr, slots, update, idle_decay=1.0)


OPTIMIZERS: Mapping[type[schema.Component], Callable[..., Optimizer]] = {
    schema.RmsProp: _rmsprop,
    schema.Sgd: _sgd,
    schema.Adam: _adam,
    schema.AdamW: _adam,
    schema.Adagrad: _adagrad,
}


def build_optimizer(spec: schema.Component) -> Optimizer:
    """The optimizer that a spec names."""
    return OPTIMIZERS[type(spec)](spec)
