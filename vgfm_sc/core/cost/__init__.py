"""What a fit will take, before it begins: by its sizes, and by a probe of the machine. Uses all that a fit uses."""
