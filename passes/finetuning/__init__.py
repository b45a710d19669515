"""The parts of `finetune`: what is trained, and towards what."""
