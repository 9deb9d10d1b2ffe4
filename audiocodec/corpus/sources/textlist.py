"""A list: the path of an audio file a line, unquoted, relative to the list's folder."""

from __future__ import annotations

import os

from audiocodec.corpus.sources.lines import LinesCorpus
from audiocodec.corpus.utterance import Utterance, check_id, id_of_path


class ListCorpus(LinesCorpus):
    """The audio files of a list. There are no comments: a name may start with any character."""

    def parse(self, line: bytes) -> Utterance:
        path = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"))
        if "\0" in path:
            raise ValueError("has a NUL character; write one path a line")
        try:
            return Utterance(check_id(id_of_path(path)), os.path.join(self.folder, path))
        except ValueError as error:
            raise ValueError(f"the path {error}") from None
