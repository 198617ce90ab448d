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
    """

    learning_rate: float
    slots: Callable[[Tensor], Slots]
    update: Callable[[Tensor, Tensor, Slots, Tensor], None]


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
            root = square.addcmul(mean, mean, value=-1).add_(eps).sqrt_()
        else:
            root = square.add(eps).sqrt_()
        if spec.momentum > 0:
            velocity = rest.pop(0)
            velocity.mul_(spec.momentum).addcdiv_(g, root, value=lr)
            w.sub_(velocity)
        else:
            w.addcdiv_(g, root, value=-lr)

    return Optimizer(lr, _zeros(1 + spec.centered + (spec.momentum > 0)), update)


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

    return Optimizer(lr, _zeros(int(momentum > 0)), update)


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
            torch.maximum(largest[0], square, out=largest[0])
            square = largest[0]
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

    return Optimizer(lr, slots, update)


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
