"""P(positive) of a text: a small classifier fitted on labelled sentences, the gold score of the mock sentiment task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tutelage.data.errors import InputError


@dataclass(frozen=True)
class Sentiment:
    """Words and pairs of words, weighted by rarity, in a logistic regression. `accuracy`: on sentences not fitted."""

    pipeline: Any
    accuracy: float

    def positive(self, texts: Sequence[str]) -> list[float]:
        """[len(texts)] P(positive) in (0, 1)."""
        return self.pipeline.predict_proba(list(texts))[:, 1].tolist()

    def __call__(self, prompts: list[str], responses: list[str]) -> list[float]:
        """The gold score of continuations: how positive the continuation is, whatever came before."""
        return self.positive(responses)


def fitted(folder: str | Path) -> Sentiment:
    """Fits on FOLDER/sst2-train.tsv and tests on FOLDER/sst2-test.tsv (sentence, tab, 1 positive or 0)."""
    texts, labels = read_sentences(Path(folder) / "sst2-train.tsv")
    held_out, answers = read_sentences(Path(folder) / "sst2-test.tsv")
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b")
    pipeline = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000)).fit(texts, labels)
    return Sentiment(pipeline, float(pipeline.score(held_out, answers)))


def read_sentences(path: Path) -> tuple[list[str], list[int]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist. --sentiment-data takes a folder of sst2-train.tsv and sst2-test.tsv.")
    texts, labels = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text, _, label = line.rpartition("\t")
        if label not in ("0", "1") or not text:
            raise InputError(f"{path}, line {number}: expected a sentence, a tab and 0 or 1, got {line[:80]!r}.")
        texts.append(text)
        labels.append(int(label))
    return texts, labels
