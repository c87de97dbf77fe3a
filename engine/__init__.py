"""The engine: reinforcement learning from human feedback as a library, usable without any screen.

A file imports only floors below its own, and on its own floor only what stands below it in pyproject.toml's list:

    0 words       errors, config, settings, metrics, events; run directory, its pulse, its run.toml; what stages need
    1 data        rows of files and datasets, readers, records; labels; survey, conversion; the pocket world; planning
    2 numbers     masked, logprobs, kl, advantages, losses
    2 models      tokenizer, templates, transformer, heads; weights, checkpoint, pretrained; sampling
    3 experience  batching, likelihood, scoring, rollout, comparing, saving
    4 stages      optimiser, alarms; pretrain, sft, rm, ppo; evaluate, judging
    5 run         sources, runtime, stages, run

The way of a prompt into a PPO update: `planning.prepare` says which stages are to do and checks all that they were
given; `run.execute` drives one after another; `stages.ppo` opens the models and takes prompts from `sources`, which
reads them by `readers`; `ppo.train_ppo` is the loop. A step of it draws (`rollout.draw_episodes`, `sampling.generate`),
scores and measures (`rollout.measure`, `scoring`), shapes rewards and estimates advantages (`advantages`), and updates
(`ppo.update`, `losses`, `optimiser`).

The way of a metric out to the terminal: it is registered in `metrics`, a stage yields it in `events.StepCompleted`,
`run.Driver.record` stamps it and appends it to events.jsonl (`rundir`), and hands it on to whoever drives: the command
line shows it (`slmctl/report.py`), and what watches from another process reads the same line.
"""
