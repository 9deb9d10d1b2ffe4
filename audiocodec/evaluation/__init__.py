"""Score codecs on files.

`run` codes the files, `scoring` compares them with what went in, `mos` asks a learned listener, and
`result` holds rows, means, the table and the CSV. `saving` keeps the audio. `pairs` scores files
that any other codec decoded.
"""

from audiocodec.evaluation.pairs import PairScores, score_files
from audiocodec.evaluation.result import Comparison, Evaluation, Mean, Row
from audiocodec.evaluation.run import compare, evaluate, ladder, warm_up
from audiocodec.evaluation.scoring import score_pair

__all__ = [
    "Comparison",
    "Evaluation",
    "Mean",
    "PairScores",
    "Row",
    "compare",
    "evaluate",
    "ladder",
    "score_files",
    "score_pair",
    "warm_up",
]
