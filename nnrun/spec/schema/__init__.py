"""The types of a spec, with every default: one module for each family of components.

A preprocessing step says what it takes and gives, a layer which shape it gives, so that a spec can be checked
without its data; nothing here computes with any.

A *component* is a name, or a one-key map from a name to its parameters; one with an obvious parameter takes a
bare value. `Component` understands the three forms, so that the same grammar holds for a spec file, for
`--set`, and for overrides given from Python:

    optimizer: rmsprop
    optimizer: {rmsprop: {learning_rate: 1e-3}}
    layers: [{dense: 64}]

Defaults are those of Keras 3 (keras.io/api), unless a docstring says otherwise.
To add a component: write its class in its family's module, add it to the union there, and write its one
function or class, with its line in the registry there, in its own folder. The modules import each other and
pydantic; everyone else imports this package.
"""

from nnrun.spec.schema.attention_layers import *
from nnrun.spec.schema.basic_layers import *
from nnrun.spec.schema.component import *
from nnrun.spec.schema.convolution_layers import *
from nnrun.spec.schema.experiment import *
from nnrun.spec.schema.inputs_and_outputs import *
from nnrun.spec.schema.layer_shapes import *
from nnrun.spec.schema.layers import *
from nnrun.spec.schema.loss_components import *
from nnrun.spec.schema.merges import *
from nnrun.spec.schema.metric_components import *
from nnrun.spec.schema.normalization_layers import *
from nnrun.spec.schema.optimizers_and_schedules import *
from nnrun.spec.schema.pooling_layers import *
from nnrun.spec.schema.preprocessing_steps import *
from nnrun.spec.schema.regularization_layers import *
from nnrun.spec.schema.sequence_layers import *
from nnrun.spec.schema.sources import *
from nnrun.spec.schema.validation_methods import *
from nnrun.spec.schema.weight_options import *
