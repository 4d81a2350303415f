from .plots import plot_curves as plot_curves
from .tables import markdown_table as markdown_table
from .tables import text_table as text_table
