"""What every layer of a spec has: the rule for its shape; and the activations that it may name."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from nnrun.spec.schema.component import ALIASES, Component
from nnrun.spec.schema.layer_shapes import LayerInput, Shape

ActivationName = Literal[
    "linear", "relu", "tanh", "sigmoid", "softmax", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu",
    "relu6", "celu", "mish", "glu", "exponential", "softsign", "squareplus", "hard_sigmoid", "hard_silu",
    "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "log_sigmoid", "log_softmax", "sparse_plus",
    "sparse_sigmoid", "sparsemax",
]  # fmt: skip
Activation = Annotated[
    ActivationName,
    BeforeValidator(lambda name: ALIASES.get(name, name) if isinstance(name, str) else name),
]


class NetworkLayer(Component):
    """Base of the layers: how the shape of a row changes, so that a spec can be checked without its data.

    A mask says of each step of a row whether it counts, as padding does not. The rules are those of Keras.

    Class attributes:
        flattens: whether it gives rows of one axis, whatever it takes.
        of_images: whether it takes (height, width, channels); of an input also (height, width).
        mask: what it does with the mask of what it takes: it `drops` it; or `keeps` it, and computes as
            without one; or `uses` it.
        ranks: how many axes its arrays have in Keras, by what the names of their options begin with: of
            `kernel_initializer`, `kernel_regularizer` and `kernel_constraint` it is `kernel`.
    """

    flattens: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    mask: ClassVar[Literal["drops", "keeps", "uses"]] = "drops"
    ranks: ClassVar[Mapping[str, int]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Regularizers and constraints can be switched off; most networks leave all weight options alone."""
        optional = [name for name in cls.model_fields if name.endswith(("_regularizer", "_constraint"))]
        initializers = [name for name in cls.model_fields if name.endswith("_initializer")]
        cls.switchable = {**dict.fromkeys(optional), **cls.switchable}
        cls.rarely_changed = frozenset([*optional, *initializers, "dilation_rate", "of"]) - {
            "kernel_regularizer"
        }

    def output_shape(self, taken: LayerInput) -> Shape:
        """The shape of a row that the layer gives.

        Raises:
            ShapeError: the layer cannot take such rows.
        """
        return taken.shape

    @property
    def makes_mask(self) -> bool:
        """Whether what it gives has a mask, whatever it takes."""
        return False

    @property
    def passes_mask(self) -> bool:
        """Whether what it gives has the mask of what it takes."""
        return self.mask != "drops"
