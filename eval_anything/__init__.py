"""eval-anything: evaluation of any-to-any models (text, images, audio and video, in and out).

    import eval_anything as ea

    run = ea.evaluate(model="micro", tasks="micro_quick", limit=20, out="runs/new")
    print(run.results.tasks["micro/selection"].metrics["selection"].value)
    print(run.to_pandas().groupby("task").mean(numeric_only=True))
    for metric in ea.compare("runs/base", "runs/new").metrics:
        print(metric.name, metric.change.difference, metric.change.ci95)

docs/python.md describes the names. Each is imported at its first use: `import eval_anything` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval_anything.lazy import lazy_names

if TYPE_CHECKING:
    # Actions: evaluate a model, read runs, compare them, gate them.
    from eval_anything.comparison.compare import Comparison as Comparison
    from eval_anything.comparison.compare import compare as compare

    # Content types: arguments and results of scoring code and models.
    from eval_anything.content import MODALITIES as MODALITIES
    from eval_anything.content import Contract as Contract
    from eval_anything.content import Failure as Failure
    from eval_anything.content import Latency as Latency
    from eval_anything.content import MediaPart as MediaPart
    from eval_anything.content import Message as Message
    from eval_anything.content import Metric as Metric
    from eval_anything.content import Modality as Modality
    from eval_anything.content import Part as Part
    from eval_anything.content import Record as Record
    from eval_anything.content import Response as Response
    from eval_anything.content import Sample as Sample
    from eval_anything.content import Score as Score
    from eval_anything.content import TextPart as TextPart
    from eval_anything.content import Usage as Usage

    # Errors, each with the exit code of the command line.
    from eval_anything.errors import EvalError as EvalError
    from eval_anything.errors import Exit as Exit
    from eval_anything.errors import InfrastructureError as InfrastructureError
    from eval_anything.errors import ServerError as ServerError
    from eval_anything.errors import UserError as UserError
    from eval_anything.evaluation.api import evaluate as evaluate
    from eval_anything.evaluation.options import Options as Options
    from eval_anything.gating.bill import Bill as Bill
    from eval_anything.gating.bill import bill as bill
    from eval_anything.gating.gate import GateResult as GateResult
    from eval_anything.gating.gate import gate as gate

    # Base classes of new models, judges and kinds of judges (docs/extending.md), and their arguments.
    from eval_anything.judges.folder import JudgeFolder as JudgeFolder
    from eval_anything.judges.kind import JudgeFile as JudgeFile
    from eval_anything.judges.scorer import Scorer as Scorer
    from eval_anything.lm_eval.lm import EvalAnythingLM as EvalAnythingLM
    from eval_anything.media.store import MediaStore as MediaStore
    from eval_anything.models.base import Model as Model
    from eval_anything.models.base import Request as Request
    from eval_anything.models.base import Sampling as Sampling
    from eval_anything.output.progress import Progress as Progress
    from eval_anything.runs.loaded import LoadedRun as LoadedRun
    from eval_anything.runs.loaded import load_run as load_run
    from eval_anything.tasks.task import Task as Task
    from eval_anything.version import __version__ as __version__

__getattr__, __dir__ = lazy_names(__name__, __file__)
