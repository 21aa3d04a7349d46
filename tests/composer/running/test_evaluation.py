"""Evaluation mode that threads share."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from support import tiny
from torch import nn

from vision_composer import compose
from vision_composer.running.evaluation import EvaluationMode


def test_the_last_thread_to_leave_restores_the_modes() -> None:
    module, evaluating = nn.Sequential(nn.Dropout(), nn.Dropout()), EvaluationMode()
    module[1].eval()
    first_is_in, second_is_in, first_has_left = (threading.Event() for _ in range(3))
    seen: list[bool] = []

    def first() -> None:
        with evaluating(module):
            first_is_in.set()
            second_is_in.wait(10)
        seen.append(module[0].training)
        first_has_left.set()

    def second() -> None:
        first_is_in.wait(10)
        with evaluating(module):
            second_is_in.set()
            first_has_left.wait(10)
            seen.append(module[0].training)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [False, False]
    assert module.training
    assert module[0].training
    assert not module[1].training


def test_threads_encode_without_dropout_in_training_mode() -> None:
    encoder = compose(
        {"schema": 1, "encoder": {**tiny.ENCODERS["clip_vision_model"], "attention_dropout": 0.5}}
    )
    images = [np.full((32, 32, 3), 9 * i, np.uint8) for i in range(24)]
    want = encoder.encode(images)
    encoder.train()
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda image: encoder.encode(image)[0], images))
    torch.testing.assert_close(got, want)
    assert encoder.training


def test_a_copy_starts_outside() -> None:
    evaluating, module = EvaluationMode(), nn.Dropout()
    with evaluating(module):
        twins = [copy.deepcopy(evaluating), pickle.loads(pickle.dumps(evaluating))]
    for twin in twins:
        with twin(module):
            assert not module.training
        assert module.training
