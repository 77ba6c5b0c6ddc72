"""Kernels with one planted error each, beside their correct twins: what the emulator's checkers must catch."""
