"""What a dimension means: found out from the operations that make and read a tensor, never from its size."""
