"""The course's exercises and quizzes: give a check your function, and it says what is right.

>>> from styletutor import lessons
>>> lessons.check_gram(my_gram)
>>> lessons.quiz("style_reconstruction")
"""

from styletutor.lessons.capstone import check_transfer, plain_transfer
from styletutor.lessons.content_reconstruction import (
    check_content_gradient,
    check_content_loss,
    check_descend,
    check_total_variation,
)
from styletutor.lessons.exercise import Exercise, Verdict, own
from styletutor.lessons.going_further import (
    check_covariance,
    check_guided_gram,
    check_joined_gram,
    check_keep_colour,
)
from styletutor.lessons.inside_vgg import (
    check_one_feature,
    check_receptive_field,
    check_strongest_channels,
)
from styletutor.lessons.museum import (
    check_batch_gram,
    check_roughness,
    check_still_closure,
    check_two_layers,
)
from styletutor.lessons.quizzes import Quiz, quiz
from styletutor.lessons.recipes_and_bugs import (
    check_batch_loss,
    check_noise_start,
    check_to_picture,
    check_translate,
)
from styletutor.lessons.reporting import report
from styletutor.lessons.start_here import check_mirror
from styletutor.lessons.style_gradient import check_style_gradient
from styletutor.lessons.style_reconstruction import check_gram, check_shuffle, check_style_loss
from styletutor.lessons.style_transfer import check_blend, check_closure, check_total_loss

__all__ = [
    "Exercise", "Quiz", "Verdict", "check_batch_gram", "check_batch_loss", "check_blend",
    "check_closure", "check_content_gradient", "check_content_loss", "check_covariance",
    "check_descend", "check_gram", "check_guided_gram", "check_joined_gram",
    "check_keep_colour", "check_mirror",
    "check_noise_start", "check_one_feature", "check_receptive_field", "check_roughness",
    "check_shuffle", "check_still_closure", "check_strongest_channels", "check_style_gradient",
    "check_style_loss", "check_to_picture", "check_total_loss", "check_total_variation",
    "check_transfer",
    "check_translate", "check_two_layers", "own", "plain_transfer", "quiz", "report",
]  # fmt: skip

exercises = {name: made for name in __all__ if isinstance(made := globals()[name], Exercise)}
