"""What every part of a spec is built on: checked scalar types, `Config` and `Component`.

Of the modules here only `layers` has `from __future__ import annotations`, because its layers hold layers:
pydantic would evaluate the texts of a base class's annotations again for each of its subclasses.
"""

from collections.abc import Hashable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Union, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from nnrun.spec.duration import canonical_duration

TAGS = WORD, MAP, CHAIN, CHAINS = "(word)", "(map)", "(chain)", "(chains)"
"""Of values that may have two forms; pydantic puts them into locations, and messages leave them out."""

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
ColumnName = Annotated[Union[NonNegativeInt, str], "column"]
"""A column by its name or, from 0, by its position among the inputs."""
Value = Annotated[Union[bool, int, float, str], "value"]
"""A single value of a file, as YAML reads it."""
Duration = Annotated[str, BeforeValidator(canonical_duration), "duration"]
"""A length of time, in its canonical form (`nnrun.spec.duration`)."""
Stratify = Annotated[Union[bool, str], "stratify"]
"""Whether each part gets its share of each class; of several outputs the one whose classes these are."""
AutoOrAmount = Annotated[
    Union[Literal["auto"], Annotated[float, Field(ge=0, allow_inf_nan=False)]], "auto_or_amount"
]
"""A number from 0 on, or `auto`, where it follows from the training rows."""
AutoOrSwitch = Annotated[Union[Literal["auto"], bool], "auto_or_switch"]
"""Yes, no, or `auto`, where it follows from the sizes."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


ONE_IS_ENOUGH = BeforeValidator(_as_list)
"""Marks a list of which a single entry may stand alone: `columns: age`."""


def _components_as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [] if value in (None, {}) else [value]


ONE_COMPONENT_IS_ENOUGH = BeforeValidator(_components_as_list)
"""The same of components, of which nothing (`null`, `{}`) is none."""


def _number_as_list(value: Any) -> Any:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


ONE_SIZE_IS_ENOUGH = BeforeValidator(_number_as_list)
"""Marks a list for which a single number may stand: a size that is the same along every axis."""
ONE_IS_ENOUGH_MARKS = (ONE_IS_ENOUGH, ONE_COMPONENT_IS_ENOUGH, ONE_SIZE_IS_ENOUGH)
Columns = Annotated[list[ColumnName], ONE_IS_ENOUGH]
Names = Annotated[list[str], Field(min_length=1), ONE_IS_ENOUGH]

# Other usual spellings of a name, as Keras and scikit-learn accept them.
ALIASES: Mapping[str, str] = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
    "mean_absolute_percentage_error": "mape",
    "mean_squared_logarithmic_error": "msle",
    "kullback_leibler_divergence": "kl_divergence",
    "kld": "kl_divergence",
    "logcosh": "log_cosh",
    "pinball": "quantile",
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "top_k_categorical_accuracy": "top_k",
    "sparse_top_k_categorical_accuracy": "top_k",
    "r2_score": "r2",
    "f1_score": "f1",
    "average_precision_score": "average_precision",
    "roc_auc": "auc",
    "pr_auc": "average_precision",
    "balanced_accuracy_score": "balanced_accuracy",
    "matthews_corrcoef": "mcc",
    "cohen_kappa_score": "cohen_kappa",
    "brier_score_loss": "brier",
    "median_absolute_error": "median_ae",
    "explained_variance_score": "explained_variance",
    "d2_absolute_error_score": "d2",
    "silu": "swish",
    "hard_swish": "hard_silu",
    "boston": "boston_housing",
    "tsv": "csv",
}


def _is_off(value: Any) -> bool:
    """Whether a value is one of the four ways to switch a part off."""
    return value is None or (isinstance(value, (str, list, Mapping)) and value in ("none", [], {}))


class Config(BaseModel):
    """Base of everything in a spec: strict types, no unknown keys, immutable.

    Class attributes:
        bare: the field that a bare value fills (`dense: 64`, `gradient_clip: 1.0`), or None.
        switchable: the fields that `none`, `null`, `[]` and `{}` switch off, and what they are then.
        rarely_changed: the fields that a written spec leaves out where they have their default.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    bare: ClassVar[str | None] = None
    switchable: ClassVar[Mapping[str, Any]] = {}
    rarely_changed: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _switch_off(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        off = {
            key: instead
            for key, instead in cls.switchable.items()
            if key in value
            and (_is_off(value[key]) or (key in _EMPTY_WITHOUT_VALUES and _says_nothing(value[key])))
        }
        return {**value, **off} if off else value


_EMPTY_WITHOUT_VALUES = ("test", "gradient_clip", "threshold")
"""Parts that mean nothing where none of their parameters has a value."""


def _says_nothing(part: Any) -> bool:
    """Whether a map gives no key a value, as `{fraction: null}`."""
    return isinstance(part, Mapping) and all(value is None for value in part.values())


class Component(Config):
    """A named part of an experiment.

    Class attributes:
        kind: the name that a spec uses.
        example: its parameters, or its bare value, in the example of `nnrun help`; default: what it must be
            given, each with a typical value.
    """

    kind: ClassVar[str]
    example: ClassVar[Any] = None

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        """Turn any of a component's three forms into the map of its parameters."""
        if isinstance(value, str):
            return {}
        if isinstance(value, Mapping) and len(value) == 1:
            (name, params), *_ = value.items()
            if component_name(name) == cls.kind:
                if params is None:
                    return {}
                if not isinstance(params, Mapping) and cls.bare is not None:
                    return {cls.bare: params}
                return params
        return value

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {self.kind: handler(self)}


def component_name(name: Any) -> Any:
    """The canonical name of a component, its aliases resolved; anything unknown is given back unchanged."""
    return ALIASES.get(name, name) if isinstance(name, str) else name


def component_tag(value: Any) -> str | None:
    """Which component a value names: the discriminator of every union below."""
    if isinstance(value, Component):
        return value.kind
    if isinstance(value, Mapping) and len(value) == 1:
        value = next(iter(value))
    return component_name(value) if isinstance(value, str) else None


class _ByName:
    """Annotates a union of components: the name says which of them a value is.

    A class's validator is built when the first value names it. Were those of the classes part of the union's,
    all two hundred of them would be built at import, most of them several times.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Hashable, CoreSchema] = {
            cls.kind: core_schema.no_info_plain_validator_function(cls.model_validate)
            for cls in get_args(source)
        }
        return core_schema.tagged_union_schema(choices, component_tag)


COMPONENT = _ByName()


class Custom(Component):
    """Custom Python code, `package.module:name`, called with `parameters`.

    It runs only if the command has `--allow-custom package.module`; `nnrun.spec.custom_objects` lists the
    requirements.
    """

    kind = "custom"
    bare = "object"
    object: str = Field(examples=["my_code:function"])
    parameters: dict[str, Value] = Field({}, examples=[{"tolerance": 0.1}])


def components(union: Any) -> dict[str, type[Component]]:
    """The registry behind a union such as `Layer`: canonical name → class, in the order of the union.

    `custom` is none of nnrun's own and not in it.
    """
    return {cls.kind: cls for cls in get_args(get_args(union)[0]) if not issubclass(cls, Custom)}
