"""Named data sets: a module each, with a descriptor that imports nothing heavy; `galzoo.registry` walks over them."""
