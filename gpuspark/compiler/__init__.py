"""Python function to typed program: CPU machine code or PTX."""
