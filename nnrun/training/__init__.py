"""What trains R replicas side by side: losses, metrics, optimizers, the engine and the loop of epochs.

Imports `nnrun.spec` and the modules beside this folder, and no other folder: networks and rows come as protocols.
"""
