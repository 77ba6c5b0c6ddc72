"""Where programs run: one small protocol, one file for each device."""
