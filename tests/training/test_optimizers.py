"""One contract over every optimizer; its rule is Keras's, and PyTorch's where the two coincide."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnrun.spec import schema
from nnrun.training.optimizers import OPTIMIZERS, Optimizer, Slots, build_clip, build_optimizer
from tests.support.example_tables import line_for
from tests.support.keras_values import OPTIMIZER_CASES, OptimizerCase, keras_values

KINDS = schema.components(schema.Optimizer)
REPLICAS = 3

Arrays = list[np.ndarray]


def example(kind: str) -> schema.Component:
    """An optimizer with nothing but what a spec must say of it."""
    cls = KINDS[kind]
    values = {int: 2, float: 0.5}
    required = {k: field.annotation for k, field in cls.model_fields.items() if field.is_required()}
    return cls.model_validate({name: values[annotation] for name, annotation in required.items()})


# Each optimizer in its variants; one that is not named here is tested with its defaults.
VARIANTS: Mapping[str, list[dict[str, Any]]] = {
    "rmsprop": [
        {},
        {"rho": 0.5, "epsilon": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "momentum": 0.5, "epsilon": 1e-3},
    ],
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "adam": [{}, {"amsgrad": True}, {"beta_1": 0.0, "beta_2": 0.5, "epsilon": 0.1}],
    "adamw": [{}, {"weight_decay": 0.0}, {"weight_decay": 0.5, "amsgrad": True, "learning_rate": 0.1}],
    "adagrad": [{}, {"initial_accumulator_value": 0.0, "epsilon": 0.1}],
    "lion": [{}, {"use_ema": True, "ema_momentum": 0.5}],
}
SPECS = [
    pytest.param(example(kind).model_copy(update=change), id=f"{kind} {change}" if change else kind)
    for kind in KINDS
    for change in VARIANTS.get(kind, [{}])
]


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def optimizer_of(spec: schema.Component, matrix: tuple[int, ...] | None = None) -> Optimizer:
    """What updates a dense layer's parameter, which is a matrix of this shape in Keras, or none."""
    optimizer = build_optimizer(spec)
    own = None
    if matrix is not None and optimizer.of_matrix is not None:
        own = optimizer.of_matrix("0.weight", "dense", matrix)
    return own or optimizer


def follow(
    spec: schema.Component,
    start: torch.Tensor,
    gradients: list[torch.Tensor],
    steps: list[float] | None = None,
    matrix: tuple[int, ...] | None = None,
    *,
    ended: bool = False,
) -> torch.Tensor:
    """Where (R, ...) parameters go along these gradients; `steps` were made before, by each replica.

    With `ended` what the training ends with, which may be their average.
    """
    optimizer = optimizer_of(spec, matrix)
    w = start.clone()
    slots = optimizer.slots(w)
    steps_R = torch.tensor(steps or [0.0] * len(w), dtype=torch.float64)
    for gradient in gradients:
        steps_R += 1
        optimizer.update(w, gradient.clone(), slots, steps_R)
    return slots[-1] if ended and optimizer.averages else w


# --- the contract ------------------------------------------------------------------------------------------


def test_every_optimizer_of_the_schema_has_its_function() -> None:
    assert set(OPTIMIZERS) == set(KINDS.values())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_update_changes_the_parameter_and_its_slots_in_their_own_form(
    spec: Any, dtype: torch.dtype
) -> None:
    optimizer = build_optimizer(spec)
    assert optimizer.learning_rate == spec.learning_rate
    w, gradient = numbers(REPLICAS, 4, 2).to(dtype), numbers(REPLICAS, 4, 2, seed=2).to(dtype)
    before, slots = w.clone(), optimizer.slots(w)
    given_gradient, first_slots = gradient.clone(), [slot.clone() for slot in slots]
    optimizer.update(w, gradient, slots, torch.ones(REPLICAS, dtype=torch.float64))
    assert (w.dtype, w.shape) == (dtype, before.shape)
    assert torch.isfinite(w).all()
    # Decay has a direction of its own, and ftrl forgets where a weight was.
    assert ((before - w).sign() == gradient.sign()).all() or spec.weight_decay or spec.kind == "ftrl"
    assert torch.equal(gradient, given_gradient)
    for slot, first in zip(slots, first_slots, strict=True):
        assert (slot.dtype, slot.shape) == (dtype, before.shape)
        assert torch.isfinite(slot).all()
        assert not torch.equal(slot, first), "what never changes need not be kept"


@pytest.mark.parametrize("spec", SPECS)
def test_each_replica_goes_its_own_way_whatever_the_others_have_done(spec: Any) -> None:
    """Replicas with fewer rows make fewer steps: here they start from 0, 7 and 1000 of them."""
    start, steps = numbers(REPLICAS, 4, 2), [0.0, 7.0, 1000.0]
    gradients = [numbers(REPLICAS, 4, 2, seed=s) for s in range(2, 6)]
    together = follow(spec, start, gradients, steps)
    for r in range(REPLICAS):
        own = slice(r, r + 1)
        alone = follow(spec, start[own], [g[own] for g in gradients], steps[own])
        torch.testing.assert_close(alone, together[own], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("spec", SPECS)
def test_following_the_slope_of_a_bowl_goes_down(spec: Any) -> None:
    optimizer = build_optimizer(spec)
    w = numbers(REPLICAS, 5)
    first = w.square().sum(1)
    slots, steps_R = optimizer.slots(w), torch.zeros(REPLICAS, dtype=torch.float64)
    for _ in range(50):
        steps_R += 1
        optimizer.update(w, 2 * w, slots, steps_R)
    assert (w.square().sum(1) < first).all()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_gradient_that_stays_the_same_never_leads_out_of_the_numbers(spec: Any, size: float) -> None:
    """Such are the gradients of mae. In float32 a mean square minus a squared mean may be below 0."""
    gradient = size * numbers(1, 50).float()
    w = follow(spec, torch.zeros(1, 50), [gradient] * 400)
    assert torch.isfinite(w).all()


# --- rows that wait ----------------------------------------------------------------------------------------

IDLE = [spec for spec in SPECS if build_optimizer(spec.values[0]).idle_decay is not None]


@pytest.mark.parametrize("spec", IDLE)
def test_a_step_without_gradient_decays_the_slots_and_leaves_the_parameter(spec: Any) -> None:
    optimizer = build_optimizer(spec)
    w = numbers(REPLICAS, 4, 2)
    slots, steps_R = optimizer.slots(w), torch.ones(REPLICAS, dtype=torch.float64)
    optimizer.update(w, numbers(REPLICAS, 4, 2, seed=2), slots, steps_R)
    before, slots_before = w.clone(), [slot.clone() for slot in slots]
    optimizer.update(w, torch.zeros_like(w), slots, steps_R + 1)
    assert torch.equal(w, before)
    for slot, slot_before in zip(slots, slots_before, strict=True):
        torch.testing.assert_close(slot, slot_before * optimizer.idle_decay, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", IDLE)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.0, 0.1, 0.5, 1.0]), steps=st.integers(1, 12))
def test_rows_that_wait_end_where_they_would_be_had_they_not_waited(
    spec: Any, seed: int, share: float, steps: int
) -> None:
    """Some steps meet a few of the rows, as a sparse gradient; some all of them, as a regularizer does."""
    optimizer, rng, features = build_optimizer(spec), np.random.default_rng(seed), 5
    waiting = numbers(REPLICAS, features, 2, seed=seed)
    moving = waiting.clone()
    slots, slots_of_moving = optimizer.slots(waiting), optimizer.slots(moving)
    seen_RF = torch.zeros(REPLICAS, features)
    steps_R = torch.zeros(REPLICAS, dtype=torch.float64)
    met_once = torch.zeros(REPLICAS, features, dtype=torch.bool)
    for _ in range(steps):
        steps_R += 1
        met = torch.from_numpy(rng.random((REPLICAS, features)) < share)
        gradient = torch.from_numpy(rng.normal(size=moving.shape)) * met[..., None]
        dense = bool(rng.random() < 0.2)
        met_once |= dense | met
        given_gradient = gradient
        if not dense:
            rows = met.nonzero().T
            given_gradient = torch.sparse_coo_tensor(
                rows, gradient[met], gradient.shape, is_coalesced=True, check_invariants=True
            )
        optimizer.update_rows(waiting, given_gradient, slots, seen_RF, steps_R)
        optimizer.update(moving, gradient, slots_of_moving, steps_R)
        last = dense | met
    # The powers of the decay are computed in float32.
    torch.testing.assert_close(waiting, moving, rtol=1e-5, atol=1e-6)
    for slot, slot_of_moving in zip(slots, slots_of_moving, strict=True):
        torch.testing.assert_close(slot[last], slot_of_moving[last], rtol=1e-5, atol=1e-6)
    assert torch.equal(seen_RF > 0, met_once)


# --- Keras's rules -----------------------------------------------------------------------------------------


def keras_rmsprop(spec: schema.RmsProp, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    velocity, average, momentum = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        velocity = spec.rho * velocity + (1 - spec.rho) * g**2
        denominator = velocity + spec.epsilon
        if spec.centered:
            average = spec.rho * average + (1 - spec.rho) * g
            denominator = velocity - average**2 + spec.epsilon
        increment = spec.learning_rate * g / np.sqrt(denominator)
        momentum = spec.momentum * momentum + increment
        w = w - (momentum if spec.momentum > 0 else increment)
    return w


def keras_sgd(spec: schema.Sgd, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    m = np.zeros_like(w)
    for g in gradients:
        m = spec.momentum * m - spec.learning_rate * g
        w = w + (spec.momentum * m - spec.learning_rate * g if spec.nesterov else m)
    return w


def keras_adam(
    spec: schema.Adam | schema.AdamW, w: np.ndarray, gradients: Arrays, steps: float
) -> np.ndarray:
    m, v, v_hat = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        steps += 1
        if isinstance(spec, schema.AdamW):
            w = w - w * spec.weight_decay * spec.learning_rate
        alpha = spec.learning_rate * np.sqrt(1 - spec.beta_2**steps) / (1 - spec.beta_1**steps)
        m = m + (g - m) * (1 - spec.beta_1)
        v = v + (g**2 - v) * (1 - spec.beta_2)
        v_hat = np.maximum(v_hat, v)
        w = w - m * alpha / (np.sqrt(v_hat if spec.amsgrad else v) + spec.epsilon)
    return w


def keras_adagrad(spec: schema.Adagrad, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    accumulator = np.full_like(w, spec.initial_accumulator_value)
    for g in gradients:
        accumulator = accumulator + g**2
        w = w - spec.learning_rate * g / np.sqrt(accumulator + spec.epsilon)
    return w


def keras_nadam(spec: schema.Nadam, w: np.ndarray, gradients: Arrays, steps: float) -> np.ndarray:
    m, v, product = np.zeros_like(w), np.zeros_like(w), 1.0
    for g in gradients:
        steps += 1
        u, u_next = (spec.beta_1 * (1 - 0.5 * 0.96**step) for step in (steps, steps + 1))
        product *= u
        m = m + (g - m) * (1 - spec.beta_1)
        v = v + (g**2 - v) * (1 - spec.beta_2)
        m_hat = u_next * m / (1 - product * u_next) + (1 - u) * g / (1 - product)
        w = w - m_hat * spec.learning_rate / (np.sqrt(v / (1 - spec.beta_2**steps)) + spec.epsilon)
    return w


def keras_adamax(spec: schema.Adamax, w: np.ndarray, gradients: Arrays, steps: float) -> np.ndarray:
    m, u = np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        steps += 1
        m = m + (g - m) * (1 - spec.beta_1)
        u = np.maximum(spec.beta_2 * u, np.abs(g))
        w = w - spec.learning_rate * m / ((1 - spec.beta_1**steps) * (u + spec.epsilon))
    return w


def keras_adadelta(spec: schema.Adadelta, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    grads, deltas = np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        grads = spec.rho * grads + (1 - spec.rho) * g**2
        delta = -np.sqrt(deltas + spec.epsilon) * g / np.sqrt(grads + spec.epsilon)
        deltas = spec.rho * deltas + (1 - spec.rho) * delta**2
        w = w + spec.learning_rate * delta
    return w


def keras_lion(spec: schema.Lion, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    m = np.zeros_like(w)
    for g in gradients:
        w = w - spec.learning_rate * np.sign(m * spec.beta_1 + g * (1 - spec.beta_1))
        m = m * spec.beta_2 + g * (1 - spec.beta_2)
    return w


def keras_lamb(spec: schema.Lamb, w: np.ndarray, gradients: Arrays, steps: float) -> np.ndarray:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        steps += 1
        m = m + (g - m) * (1 - spec.beta_1)
        v = v + (g**2 - v) * (1 - spec.beta_2)
        root = np.sqrt(v / (1 - spec.beta_2**steps)) + spec.epsilon
        update = m / (1 - spec.beta_1**steps) / root
        w = w - np.linalg.norm(w) / np.linalg.norm(update) * spec.learning_rate * update
    return w


def keras_muon(spec: schema.Muon, w: np.ndarray, gradients: Arrays, steps: float) -> np.ndarray:
    """Of what is no matrix."""
    adam = schema.AdamW(
        learning_rate=spec.learning_rate * spec.adam_lr_ratio,
        beta_1=spec.adam_beta_1,
        beta_2=spec.adam_beta_2,
        epsilon=spec.epsilon,
        # It decays by the learning rate alone.
        weight_decay=spec.adam_weight_decay / spec.adam_lr_ratio,
    )
    return keras_adam(adam, w, gradients, steps)


def keras_muon_of_a_matrix(spec: schema.Muon, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    m = np.zeros_like(w)
    for g in gradients:
        w = w - w * spec.weight_decay * spec.learning_rate
        m = spec.momentum * m + g
        x = g + spec.momentum * m if spec.nesterov else m
        if len(w) > len(w.T):
            x = x.T
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(spec.ns_steps):
            a = x @ x.T
            x = spec.muon_a * x + (spec.muon_b * a + spec.muon_c * a @ a) @ x
        update = spec.learning_rate * (x.T if len(w) > len(w.T) else x)
        w = w - update * (1 if spec.rms_rate is None else np.sqrt(max(w.shape)) * spec.rms_rate)
    return w


def keras_ftrl(spec: schema.Ftrl, w: np.ndarray, gradients: Arrays) -> np.ndarray:
    accum, linear = np.full_like(w, spec.initial_accumulator_value), np.zeros_like(w)
    l1, power = spec.l1_regularization_strength, -spec.learning_rate_power
    l2 = spec.l2_regularization_strength + spec.beta / (2 * spec.learning_rate)
    for g in gradients:
        new = accum + g**2
        linear = linear + g + 2 * spec.l2_shrinkage_regularization_strength * w
        linear = linear - (new**power - accum**power) / spec.learning_rate * w
        w = (np.clip(linear, -l1, l1) - linear) / (new**power / spec.learning_rate + 2 * l2)
        accum = new
    return w


# keras/src/optimizers, `update_step`, for one replica that made `steps` updates before.
RULES: Mapping[str, Callable[[Any, np.ndarray, Arrays, float], np.ndarray]] = {
    "rmsprop": lambda spec, w, gradients, steps: keras_rmsprop(spec, w, gradients),
    "sgd": lambda spec, w, gradients, steps: keras_sgd(spec, w, gradients),
    "adam": keras_adam,
    "adamw": keras_adam,
    "adagrad": lambda spec, w, gradients, steps: keras_adagrad(spec, w, gradients),
    "nadam": keras_nadam,
    "adamax": keras_adamax,
    "adadelta": lambda spec, w, gradients, steps: keras_adadelta(spec, w, gradients),
    "lion": lambda spec, w, gradients, steps: keras_lion(spec, w, gradients),
    "lamb": keras_lamb,
    "ftrl": lambda spec, w, gradients, steps: keras_ftrl(spec, w, gradients),
    "muon": keras_muon,
}
PARAMETERS: Mapping[str, st.SearchStrategy[Any]] = {
    "learning_rate": st.floats(1e-4, 0.5),
    "rho": st.floats(0.01, 0.99),
    "momentum": st.sampled_from([0.0, 0.5, 0.9]),
    "centered": st.booleans(),
    "nesterov": st.booleans(),
    "beta_1": st.floats(0.01, 0.99),
    "beta_2": st.floats(0.01, 0.9999),
    "epsilon": st.floats(1e-7, 0.1),
    "amsgrad": st.booleans(),
    "weight_decay": st.floats(0.001, 0.5),
    "initial_accumulator_value": st.floats(0.001, 1.0),
    "exclude_from_weight_decay": st.just([]),
    "gradient_accumulation_steps": st.none(),
    "learning_rate_power": st.floats(-1.0, 0.0),
    "l1_regularization_strength": st.floats(0.0, 0.5),
    "l2_regularization_strength": st.floats(0.0, 0.5),
    "l2_shrinkage_regularization_strength": st.floats(0.0, 0.5),
    "beta": st.floats(0.0, 1.0),
    "use_ema": st.just(False),
    "ema_momentum": st.just(0.99),
    "ema_overwrite_frequency": st.none(),
    "adam_beta_1": st.floats(0.01, 0.99),
    "adam_beta_2": st.floats(0.01, 0.9999),
    "adam_weight_decay": st.floats(0.001, 0.5),
    "adam_lr_ratio": st.floats(0.1, 2.0),
    "exclude_layers": st.just([]),
    "exclude_embeddings": st.booleans(),
    "muon_a": st.floats(0.5, 2.0),
    "muon_b": st.floats(-1.5, 0.0),
    "muon_c": st.floats(0.0, 0.5),
    "ns_steps": st.integers(0, 3),  # such coefficients may lead far from 1
    "rms_rate": st.none() | st.floats(0.01, 1.0),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(
    data=st.data(), seed=st.integers(0, 2**32), steps=st.lists(st.integers(0, 2000), min_size=1, max_size=4)
)
def test_the_rule_is_keras_s(kind: str, data: st.DataObject, seed: int, steps: list[int]) -> None:
    drawn = {
        name: data.draw(line_for(PARAMETERS, name, "PARAMETERS of tests/training/test_optimizers.py"), name)
        for name in KINDS[kind].model_fields
    }
    if kind != "adamw":  # tested below, for all of them
        drawn["weight_decay"] = 0.0
    if drawn.get("momentum") == 0:
        drawn["nesterov" if kind == "sgd" else "momentum"] = 0 if kind != "sgd" else False
    spec = KINDS[kind].model_validate(drawn)
    replicas = len(steps)
    start = numbers(replicas, 3, seed=seed)
    gradients = [numbers(replicas, 3, seed=seed + i) for i in range(1, 6)]
    found = follow(spec, start, gradients, [float(s) for s in steps])
    for r in range(replicas):
        expected = line_for(RULES, kind, "RULES of tests/training/test_optimizers.py")(
            spec, start[r].numpy(), [g[r].numpy() for g in gradients], steps[r]
        )
        np.testing.assert_allclose(found[r].numpy(), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=50)
@given(
    data=st.data(),
    seed=st.integers(0, 2**32),
    replicas=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_muon_moves_matrices_as_keras_does(
    data: st.DataObject, seed: int, replicas: int, shape: tuple[int, int]
) -> None:
    """Also where the array has another shape here, as attention's biases do."""
    fields = schema.Muon.model_fields
    spec = schema.Muon.model_validate({name: data.draw(PARAMETERS[name], name) for name in fields})
    start = numbers(replicas, *shape, seed=seed)
    gradients = [numbers(replicas, *shape, seed=seed + i) for i in range(1, 4)]
    found = follow(spec, start, gradients, matrix=shape)
    flat = [g.view(replicas, 1, -1) for g in gradients]
    found_flat = follow(spec, start.view(replicas, 1, -1), flat, matrix=shape)
    for r in range(replicas):
        expected = keras_muon_of_a_matrix(spec, start[r].numpy(), [g[r].numpy() for g in gradients])
        np.testing.assert_allclose(found[r].numpy(), expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(found_flat[r].numpy().reshape(shape), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_muon_s_step_has_singular_values_near_1(dtype: torch.dtype) -> None:
    """About 0.7 to 1.2, as of Muon's authors' coefficients, whatever the size of the gradient."""
    spec = schema.Muon(learning_rate=1.0, weight_decay=0.0, rms_rate=None)
    for size in (1e-3, 1.0, 1e4):
        start, gradient = torch.zeros(REPLICAS, 6, 4, dtype=dtype), size * numbers(REPLICAS, 6, 4).to(dtype)
        moved = follow(spec, start, [gradient], matrix=(6, 4))
        values = torch.linalg.svdvals(moved)
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_leaves_what_it_is_told_to_adam() -> None:
    spec = schema.Muon(exclude_layers=[1, "words"])
    of_matrix = build_optimizer(spec).of_matrix
    assert of_matrix is not None
    for name, kind in [("1.weight", "dense"), ("words.3.weight", "dense"), ("0.weight", "embedding")]:
        assert of_matrix(name, kind, (4, 3)) is None
    for name in ("0.weight", "10.weight", "words_too.1.weight"):
        assert of_matrix(name, "dense", (4, 3)) is not None
    of_matrix = build_optimizer(schema.Muon(exclude_embeddings=False)).of_matrix
    assert of_matrix is not None
    assert of_matrix("0.weight", "embedding", (4, 3)) is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frequency", [None, 3])
@pytest.mark.parametrize("accumulated", [None, 2])
def test_averages_follow_the_parameter(kind: str, frequency: int | None, accumulated: int | None) -> None:
    """Each replica's from its own first update on; the third update puts them in the parameter's place."""
    plain = example(kind).model_copy(
        update={"learning_rate": 0.1, "gradient_accumulation_steps": accumulated}
    )
    options = {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": frequency}
    optimizer, averaging = build_optimizer(plain), build_optimizer(plain.model_copy(update=options))
    assert averaging.idle_decay is None
    w, average = numbers(REPLICAS, 4, 2), torch.zeros(REPLICAS, 4, 2, dtype=torch.float64)
    found, steps_R = w.clone(), torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    slots, found_slots = optimizer.slots(w), averaging.slots(w)
    for seed in range(2, 10):
        gradient = numbers(REPLICAS, 4, 2, seed=seed)
        steps_R += 1
        optimizer.update(w, gradient, slots, steps_R)
        averaging.update(found, gradient, found_slots, steps_R)
        for r in range(REPLICAS):
            updates = (int(steps_R[r]) - 1) // (accumulated or 1)
            average[r] = w[r] if updates == 0 else 0.7 * average[r] + 0.3 * w[r]
            if frequency is not None and (updates + 1) % frequency == 0:
                w[r] = average[r]
        torch.testing.assert_close(found, w, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found_slots[-1], average, rtol=1e-9, atol=1e-12)


DECAY_OF = {"muon": "adam_weight_decay"}  # of what is no matrix


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_comes_before_the_update(kind: str) -> None:
    decay = DECAY_OF.get(kind, "weight_decay")
    plain = example(kind).model_copy(update={decay: 0.0, "learning_rate": 0.1})
    decaying = plain.model_copy(update={decay: 0.3})
    start, gradient = numbers(REPLICAS, 4, 2), numbers(REPLICAS, 4, 2, seed=2)
    expected = follow(plain, start * (1 - 0.1 * 0.3), [gradient])
    torch.testing.assert_close(follow(decaying, start, [gradient]), expected, rtol=1e-12, atol=1e-14)
    assert build_optimizer(decaying).idle_decay is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"use_ema": True}, {"gradient_accumulation_steps": 2}], ids=str)
def test_what_is_excluded_does_not_decay(kind: str, options: dict[str, Any]) -> None:
    """It follows the rule without decay, and what is not excluded the rule with it."""
    decays = dict.fromkeys(("weight_decay", DECAY_OF.get(kind, "weight_decay")), 0.3)
    plain = example(kind).model_copy(update={"learning_rate": 0.1, **options, **dict.fromkeys(decays, 0.0)})
    whole = plain.model_copy(update=decays)
    optimizer = build_optimizer(whole.model_copy(update={"exclude_from_weight_decay": ["bias"]}))
    assert optimizer.undecayed is not None
    w, gradient, steps_R = numbers(2, 4, 2), numbers(2, 4, 2, seed=2), torch.ones(2).double()
    for mine, expected in ((optimizer, whole), (optimizer.undecayed, plain)):
        peer, (found, theirs) = build_optimizer(expected), (w.clone(), w.clone())
        mine.update(found, gradient, mine.slots(found), steps_R)
        peer.update(theirs, gradient, peer.slots(theirs), steps_R)
        assert torch.equal(found, theirs)
    assert build_optimizer(whole).undecayed is None
    assert build_optimizer(plain.model_copy(update={"exclude_from_weight_decay": ["bias"]})).undecayed is None


def test_excluded_are_arrays_by_their_usual_names_and_layers_by_their_places() -> None:
    names = {
        "0.weight": "embedding",
        "1.weight": "layer_normalization",
        "1.bias": "layer_normalization",
        "words.3.weight_ih": "lstm",
        "words.3.bias_hh": "lstm",
        "10.weight": "dense",
        "10.r": "dense",
        "10.s": "dense",
    }

    def excluded(*entries: str | int) -> set[str]:
        optimizer = build_optimizer(schema.AdamW(exclude_from_weight_decay=list(entries)))
        return {name for name, kind in names.items() if optimizer.excludes(name, kind)}

    assert excluded("bias") == {"1.bias", "words.3.bias_hh"}
    assert excluded("gamma") == {"1.weight", "10.r", "10.s"}
    assert excluded("embeddings") == {"0.weight"}
    assert excluded(1, "bias") == {"1.weight", "1.bias", "words.3.bias_hh"}
    assert excluded("words") == {"words.3.weight_ih", "words.3.bias_hh"}


@pytest.mark.parametrize("kind", KINDS)
def test_accumulated_gradients_are_one_update_by_their_mean(kind: str) -> None:
    """Nothing moves before the third. Replicas that made other numbers of steps are due at other times."""
    plain = example(kind).model_copy(update={"learning_rate": 0.1})
    spec = plain.model_copy(update={"gradient_accumulation_steps": 3})
    start = numbers(REPLICAS, 4, 2)
    gradients = [numbers(REPLICAS, 4, 2, seed=s) for s in range(2, 8)]
    assert torch.equal(follow(spec, start, gradients[:2]), start)
    means = [torch.stack(gradients[at : at + 3]).mean(0) for at in (0, 3)]
    for done in range(3, 7):
        expected = follow(plain, start, means[: done // 3])
        torch.testing.assert_close(follow(spec, start, gradients[:done]), expected, rtol=1e-12, atol=1e-14)
    together = follow(spec, start, gradients, [0.0, 1.0, 5.0])
    for r, steps in enumerate([0.0, 1.0, 5.0]):
        own = slice(r, r + 1)
        alone = follow(spec, start[own], [g[own] for g in gradients], [steps])
        torch.testing.assert_close(together[own], alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", OPTIMIZER_CASES, ids=lambda case: case.name)
def test_the_way_is_the_one_that_keras_went(case: OptimizerCase) -> None:
    spec = KINDS[case.kind].model_validate(case.parameters)
    start, gradients = case.arrays()
    stacked = [torch.from_numpy(g)[None] for g in gradients]
    found = follow(spec, torch.from_numpy(start)[None], stacked, matrix=start.shape, ended=True)
    np.testing.assert_allclose(found[0].numpy(), keras_values("optimizers")[case.name], rtol=2e-5, atol=1e-6)


# --- PyTorch's, where it computes the same: an epsilon too small to matter ---------------------------------

TINY = 1e-30
PYTORCH: list[tuple[schema.Component, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]]] = [
    (schema.Sgd(), lambda w: torch.optim.SGD(w, lr=0.01)),
    (schema.Sgd(momentum=0.9), lambda w: torch.optim.SGD(w, lr=0.01, momentum=0.9)),
    (
        schema.Sgd(momentum=0.9, nesterov=True),
        lambda w: torch.optim.SGD(w, lr=0.01, momentum=0.9, nesterov=True),
    ),
    (schema.Adam(epsilon=TINY), lambda w: torch.optim.Adam(w, eps=TINY)),
    (schema.Adam(epsilon=TINY, amsgrad=True), lambda w: torch.optim.Adam(w, eps=TINY, amsgrad=True)),
    (
        schema.AdamW(epsilon=TINY, weight_decay=0.3),
        lambda w: torch.optim.AdamW(w, eps=TINY, weight_decay=0.3),
    ),
    (schema.RmsProp(epsilon=TINY), lambda w: torch.optim.RMSprop(w, lr=0.001, alpha=0.9, eps=TINY)),
    (
        schema.RmsProp(epsilon=TINY, momentum=0.5, centered=True),
        lambda w: torch.optim.RMSprop(w, lr=0.001, alpha=0.9, eps=TINY, momentum=0.5, centered=True),
    ),
    (
        schema.Adagrad(epsilon=TINY),
        lambda w: torch.optim.Adagrad(w, lr=0.001, initial_accumulator_value=0.1, eps=TINY),
    ),
]


@pytest.mark.parametrize(("spec", "make"), PYTORCH, ids=[repr(spec) for spec, _ in PYTORCH])
def test_with_a_tiny_epsilon_it_is_pytorch_s(
    spec: schema.Component, make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
) -> None:
    start = numbers(REPLICAS, 4, 2)
    gradients = [numbers(REPLICAS, 4, 2, seed=s) for s in range(2, 12)]
    theirs = torch.nn.Parameter(start.clone())
    optimizer = make([theirs])
    for gradient in gradients:
        theirs.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(follow(spec, start, gradients), theirs.detach(), rtol=1e-9, atol=1e-12)


def test_an_untouched_slot_is_each_parameter_s_own() -> None:
    """Two parameters that shared a slot would share a history."""
    optimizer = build_optimizer(schema.Adam(amsgrad=True))
    w = numbers(REPLICAS, 2)
    slots: Slots = [*optimizer.slots(w), *optimizer.slots(w)]
    assert len({slot.data_ptr() for slot in slots}) == 6


def gradients(seed: int = 1, replicas: int = 3) -> dict[str, Tensor]:
    """A kernel of which four rows of seven hold anything, and a bias."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(replicas, 7, 4, generator=generator)
    kernel[:, [0, 2, 5]] = 0
    return {"0.weight": kernel, "0.bias": torch.randn(replicas, 1, 4, generator=generator)}


def sparse(dense: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**dense, "0.weight": dense["0.weight"].to_sparse(2).coalesce()}


def clipped(spec: schema.GradientClip, given: dict[str, Tensor]) -> dict[str, Tensor]:
    clip = build_clip(spec)
    assert clip is not None
    return clip(given)


def norm_of(given: dict[str, Tensor], replica: int) -> float:
    """Of all gradients of one replica, in Python's own numbers."""
    return math.sqrt(sum(v * v for g in given.values() for v in g[replica].flatten().tolist()))


def test_nothing_is_clipped_unless_a_spec_says_so() -> None:
    assert build_clip(None) is None


@given(limit=st.floats(0.01, 100), seed=st.integers(0, 1000), scale=st.floats(0.001, 1000))
def test_a_norm_above_the_limit_becomes_the_limit_and_a_smaller_one_stays(
    limit: float, seed: int, scale: float
) -> None:
    """Replica 1 has gradients of another size: what is done to one says nothing about the others."""
    given = gradients(seed)
    for gradient in given.values():
        gradient[1] *= scale
    found = clipped(schema.GradientClip(norm=limit), given)
    for replica in range(3):
        before = norm_of(given, replica)
        assert norm_of(found, replica) == pytest.approx(min(before, limit), rel=1e-4)
        for name, gradient in given.items():
            expected = gradient[replica] * min(1.0, limit / before)
            torch.testing.assert_close(found[name][replica], expected, rtol=1e-4, atol=1e-7)


def test_gradients_of_zero_stay_zero() -> None:
    given = {name: torch.zeros_like(gradient) for name, gradient in gradients().items()}
    for gradient in clipped(schema.GradientClip(norm=1.0), given).values():
        assert not gradient.any()


@given(limit=st.floats(0.01, 10), seed=st.integers(0, 1000))
def test_a_value_beyond_the_limit_becomes_the_limit(limit: float, seed: int) -> None:
    given = gradients(seed)
    found = clipped(schema.GradientClip(value=limit), given)
    for name, gradient in given.items():
        expected = [max(-limit, min(limit, v)) for v in gradient.flatten().tolist()]
        assert found[name].flatten().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("spec", [schema.GradientClip(norm=1.5), schema.GradientClip(value=0.3)], ids=str)
def test_sparse_gradients_keep_their_rows_and_are_clipped_alike(spec: schema.GradientClip) -> None:
    given = gradients()
    dense, found = clipped(spec, given), clipped(spec, sparse(given))
    assert found["0.weight"].is_sparse
    assert found["0.weight"].is_coalesced()
    assert torch.equal(found["0.weight"].indices(), sparse(given)["0.weight"].indices())
    torch.testing.assert_close(found["0.weight"].to_dense(), dense["0.weight"])
    torch.testing.assert_close(found["0.bias"], dense["0.bias"])


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_gradient_that_is_no_number_is_not_hidden(bad: float) -> None:
    """All gradients of its replica become NaN, as in Keras, so that the loop sees it; the others' do not."""
    given = gradients()
    given["0.weight"][1, 1, 0] = bad
    found = clipped(schema.GradientClip(norm=1.0), given)
    for gradient in found.values():
        assert gradient[1].isnan().all()
        assert gradient[[0, 2]].isfinite().all()
