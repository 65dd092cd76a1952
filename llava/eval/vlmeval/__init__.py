"""The model as VLMEvalKit sees it; ``python -m scripts.eval_vlmeval`` registers it and starts VLMEvalKit's own run.

VLMEvalKit has no entry points, so a process that is to know the model has to begin here. Nothing here imports it before
it is asked to run.
"""
