"""What every module uses, in one place each: checks and their errors, the door for arguments, reductions, stable primitives, class axes."""
