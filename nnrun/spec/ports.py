"""The names of a network's inputs and outputs ("ports"). A chain of layers has one of each."""

Port = str

INPUT: Port = "x"
OUTPUT: Port = "y"
