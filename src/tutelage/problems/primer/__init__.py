"""The built-in world `primer`: arithmetic word problems whose every step has a known truth.

Pure Python. It generates problems with worked solutions, programs, chunk boundaries and multiple-choice variants
(`splits`), names what textbooks get wrong (`cells`), judges any solution text exactly (`critiques`), and holds the
prompt formats of the built-in model (`prompts`). The model itself and the script that makes it: `tutelage.primer`.
"""

from tutelage.problems.primer.cells import OPERATIONS, Cell, cell_table
from tutelage.problems.primer.critiques import (
    Annotation,
    ParsedCritique,
    StepVerdict,
    annotate,
    critique_of,
    mistaken,
    parse_critique,
    true_critique,
)
from tutelage.problems.primer.mistakes import MistakeKind, mistaken_line
from tutelage.problems.primer.prompts import (
    complete_prompt,
    correct_prompt,
    cot_prompt,
    critique_prompt,
    judge_prompt,
    mixed_prompt,
    pot_prompt,
    question_text,
    refine_prompt,
    write_prompt,
)
from tutelage.problems.primer.solutions import ANSWER_MARK, OUTPUT_MARK, chunks_of, output_text
from tutelage.problems.primer.splits import (
    PRIMER_SPLITS,
    annotate_problem,
    part_of,
    primer_choice_problems,
    primer_problems,
    stories,
    story_of,
)
from tutelage.problems.primer.story import Story, keywords, render_question

__all__ = [
    "ANSWER_MARK",
    "OPERATIONS",
    "OUTPUT_MARK",
    "PRIMER_SPLITS",
    "Annotation",
    "Cell",
    "MistakeKind",
    "ParsedCritique",
    "StepVerdict",
    "Story",
    "annotate",
    "annotate_problem",
    "cell_table",
    "chunks_of",
    "complete_prompt",
    "correct_prompt",
    "cot_prompt",
    "critique_of",
    "critique_prompt",
    "judge_prompt",
    "keywords",
    "mistaken",
    "mistaken_line",
    "mixed_prompt",
    "output_text",
    "parse_critique",
    "part_of",
    "pot_prompt",
    "primer_choice_problems",
    "primer_problems",
    "question_text",
    "refine_prompt",
    "render_question",
    "stories",
    "story_of",
    "true_critique",
    "write_prompt",
]
