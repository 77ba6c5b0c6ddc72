"""Kernels with one planted error each, which the emulator's checkers must detect, and their correct twins."""
