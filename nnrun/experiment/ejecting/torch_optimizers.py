"""What a script for PyTorch says of optimizers: the registry of each.

An optimizer has a line in `OPTIMIZERS`; one without it is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnrun.experiment.ejecting.refusals import can_write, refuse
from nnrun.spec import schema
from nnrun.spec.schema.experiment import ExperimentSpec

Component = schema.Component

_ADAM = """\
            self.means[i].lerp_(g, 1 - {b1})
            v.mul_({b2}).add_(squared(w), alpha=1 - {b2})
            correction = (1 - {b2}**self.steps) ** 0.5 / (1 - {b1}**self.steps)
            w -= rate * correction * self.means[i] / (v.sqrt() + {eps})"""


def _rmsprop(spec: Any) -> tuple[str, list[str]]:
    lines = [
        f"            v.mul_({spec.rho!r}).add_(squared(w), alpha=1 - {spec.rho!r})",
    ]
    step = f"rate * g / (v + {spec.epsilon!r}).sqrt()"
    if spec.momentum:
        lines += [
            f"            self.means[i].mul_({spec.momentum!r}).add_({step})",
            "            w -= self.means[i]",
        ]
    else:
        lines.append(f"            w -= {step}")
    return "RMSprop with epsilon inside the root (torch.optim.RMSprop has it outside).", lines


def _sgd(spec: Any) -> tuple[str, list[str]]:
    says = "Stochastic gradient descent."
    if not spec.momentum:
        return says, ["            w -= rate * g"]
    m = repr(spec.momentum)
    lines = [f"            velocity = self.means[i].mul_({m}).sub_(rate * g)"]
    lines.append(
        f"            w += {m} * velocity - rate * g" if spec.nesterov else "            w += velocity"
    )
    return "Stochastic gradient descent with momentum; the rate is inside the velocity.", lines


def _adam(spec: Any) -> tuple[str, list[str]]:
    decay = [f"            w *= 1 - rate * {spec.weight_decay!r}"] if spec.weight_decay else []
    if decay and spec.exclude_from_weight_decay:
        decay = ["            w *= 1 - rate * self.decays[i]"]
    lines = _ADAM.format(b1=repr(spec.beta_1), b2=repr(spec.beta_2), eps=repr(spec.epsilon)).splitlines()
    return "Adam with Keras's epsilon, which the bias correction does not scale.", [*decay, *lines]


def _adagrad(spec: Any) -> tuple[str, list[str]]:
    lines = ["            v.add_(squared(w))", f"            w -= rate * g / (v + {spec.epsilon!r}).sqrt()"]
    return "Adagrad with epsilon inside the root.", lines


OPTIMIZERS: Mapping[type[Component], Callable[[Any], tuple[str, list[str]]]] = {
    schema.RmsProp: _rmsprop,
    schema.Sgd: _sgd,
    schema.Adam: _adam,
    schema.AdamW: _adam,
    schema.Adagrad: _adagrad,
}
"""What an optimizer is, and the lines that change w by g, with v and `self.means[i]` as its state."""


def squares_gradients(optimizer: Any) -> bool:
    """Whether an optimizer keeps squares of gradients."""
    return not isinstance(optimizer, schema.Sgd)


def optimizer_lines(spec: ExperimentSpec, *, embeds: bool) -> list[str]:
    """The class `Optimizer`, and the function that it calls.

    Raises:
        UsageError: the optimizer, or an option of it, cannot be written.
    """
    own = spec.optimizer
    _refuse_what_is_not_written(own)
    says, lines = OPTIMIZERS[type(own)](own)
    text = "\n".join(lines)
    squared = "squared(w)" if embeds and squares_gradients(own) else "g**2"
    text = text.replace("squared(w)", squared)
    loop = "for i, w in enumerate(self.weights):" if "[i]" in text else "for w in self.weights:"
    unpack = "            g = w.grad"
    if _has_squares(text):
        if "[i]" in text:
            unpack = "            g, v = w.grad, self.squares[i]"
        else:
            loop = "for w, v in zip(self.weights, self.squares):"
    optimizer = [
        "class Optimizer:",
        f'    """{says}"""',
        "",
        "    def __init__(self, network):",
        "        self.weights = [w for w in network.parameters() if w.requires_grad]",
        *_state_lines(own, text),
        "",
        "    @torch.no_grad()",
        "    def step(self, rate):",
        *_clip_lines(spec.gradient_clip),
        *(["        self.steps += 1"] if "self.steps" in text else []),
        f"        {loop}",
        unpack,
        *text.splitlines(),
    ]
    return optimizer if squared == "g**2" else [*_SQUARED, "", "", *optimizer]


_SQUARED = (
    "def squared(w):",
    '    """The squares of a gradient; of an embedding those of its places."""',
    '    return w.squares if hasattr(w, "squares") else w.grad**2',
)


def _refuse_what_is_not_written(own: Any) -> None:
    if type(own) not in OPTIMIZERS:
        raise refuse(f"the optimizer {own.kind}", can_write(OPTIMIZERS))
    for option in ("amsgrad", "centered"):
        if getattr(own, option, False):
            raise refuse(f"{option} of the optimizer {own.kind}")
    if own.weight_decay and not isinstance(own, schema.Adam | schema.AdamW):
        raise refuse(f"weight_decay of the optimizer {own.kind}")


def _has_squares(text: str) -> bool:
    """Whether the lines of a step keep squares of gradients, as `v`."""
    return " v." in text or "(v " in text


def _state_lines(own: Any, text: str) -> list[str]:
    """What `__init__` makes: what the lines of a step use."""
    state = []
    if _has_squares(text):
        first = own.initial_accumulator_value if isinstance(own, schema.Adagrad) else 0.0
        made = f"torch.full_like(w, {first!r})" if first else "torch.zeros_like(w)"
        state.append(f"        self.squares = [{made} for w in self.weights]")
    if "self.decays" in text:
        state += [
            "        names = [name for name, w in network.named_parameters() if w.requires_grad]",
            "        # Biases do not decay.",
            f'        self.decays = [0.0 if "bias" in name else {own.weight_decay!r} for name in names]',
        ]
    if "self.means" in text:
        state.append("        self.means = [torch.zeros_like(w) for w in self.weights]")
    if "self.steps" in text:
        state.append("        self.steps = 0")
    return state


def _clip_lines(clip: schema.GradientClip | None) -> list[str]:
    if clip is None:
        return []
    if clip.norm is not None:
        return [f"        nn.utils.clip_grad_norm_(self.weights, {clip.norm!r})"]
    return [f"        nn.utils.clip_grad_value_(self.weights, {clip.value!r})"]
