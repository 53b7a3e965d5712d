"""People judge what no judgement covers: a blind sheet of unjudged results, and scores with the judgements added."""
