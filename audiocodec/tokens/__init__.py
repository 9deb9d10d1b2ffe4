"""The `.tok` format: header, reader, writer and bit packing. It needs NumPy, and no torch."""
