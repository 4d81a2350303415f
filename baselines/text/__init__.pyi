from .cloning import TextTraining as TextTraining
from .cloning import TextTrainingConfig as TextTrainingConfig
