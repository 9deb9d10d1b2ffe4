"""ONNX Runtime: an engine that computes a codec, and a codec exported as graphs."""
