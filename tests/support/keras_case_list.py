"""All small training runs whose numbers Keras computed."""

from __future__ import annotations

from tests.support.keras_cases import CASES
from tests.support.keras_layer_cases import LAYER_CASES
from tests.support.keras_more_layer_cases import MORE_LAYER_CASES
from tests.support.keras_option_cases import OPTION_CASES
from tests.support.keras_sequence_cases import EMBEDDING_CASES, SEQUENCE_CASES

ALL_CASES = (*CASES, *LAYER_CASES, *SEQUENCE_CASES, *EMBEDDING_CASES, *OPTION_CASES, *MORE_LAYER_CASES)
