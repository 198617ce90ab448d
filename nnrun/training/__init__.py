"""What trains R replicas side by side: losses, metrics, optimizers, the engine and the loop of epochs.

May import `nnrun.spec` and single modules of `nnrun`, no other folder: networks and rows come as protocols.
"""
