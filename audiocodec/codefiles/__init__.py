"""Codes in the file formats of other programs, and back: NumPy, JSON, Parquet. No torch.

    from audiocodec.codefiles.conversion import export_codes, import_codes

    export_codes("speech.tok", "speech.npz")
    import_codes("speech.npz", "again.tok")      # the same bytes as speech.tok

A file holds ``codes [C, K, F]`` and :class:`~audiocodec.codefiles.facts.Facts`: what the header of
the token file says, and the number of samples. Each format is one file here and one line in
:data:`~audiocodec.codefiles.registry.FORMATS`.
"""
