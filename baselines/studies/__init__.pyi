from .demo import DemoConfig as DemoConfig
from .meta import MetaConfig as MetaConfig
from .stages import StagesConfig as StagesConfig
from .text_stages import TextStagesConfig as TextStagesConfig
