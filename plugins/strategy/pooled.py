"""Ansible strategy: `linear`, with one Python process kept on each host instead of a new one for each task.

The pool's roles are many small tasks, and a host with one slow processor needs longer to start Python than to do
them. Mitogen, from requirements.txt, keeps the process; without it this is Ansible's own `linear`, only slower.
"""

from __future__ import annotations

DOCUMENTATION = """
name: pooled
short_description: Linear, through Mitogen where it is installed
description:
  - Runs tasks like the C(linear) strategy, in a Python process that stays on each host for the whole playbook.
  - Without Mitogen on the control node it is the C(linear) strategy itself.
author: the project
"""

try:
    import ansible_mitogen.loaders
    import ansible_mitogen.strategy
except ImportError:
    from ansible.plugins.strategy.linear import StrategyModule
else:
    # Mitogen's own loader, so that Ansible's plug-in is wrapped once whoever asks for it.
    _Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)

    class StrategyModule(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear over Mitogen's connections."""


__all__ = ["StrategyModule"]
