"""From a spec's layers to a network: stateless layers, stacked parameters, one network or many replicas.

Shape suffixes, here and in `nnrun.training`: N rows of the data set, F features, B rows of a batch, R
replicas (networks of one architecture that train side by side), U units of a layer, K outputs of the network.
"""
