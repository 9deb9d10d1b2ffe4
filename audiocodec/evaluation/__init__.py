"""Score a codec on files.

`run` codes the files, `scoring` compares them with what went in, `mos` asks a learned listener, and
`result` holds rows, means, the table and the CSV.
"""

from audiocodec.evaluation.result import Evaluation, Mean, Row
from audiocodec.evaluation.run import evaluate, ladder, warm_up
from audiocodec.evaluation.scoring import score_pair

__all__ = ["Evaluation", "Mean", "Row", "evaluate", "ladder", "score_pair", "warm_up"]
