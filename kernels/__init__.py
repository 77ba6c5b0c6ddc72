"""Named columnar operations of gpuspark, one file each."""
