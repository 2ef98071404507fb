"""The Functions app: the blueprints of all trigger folders, registered one by one."""

from __future__ import annotations

import azure.functions as func

from join_timer_fn import bp as join_timer_bp
from manage_fn import bp as manage_bp
from rank_fn import bp as rank_bp
from reward_fn import bp as reward_bp
from shared.app import drain as drain  # awaited by `localhost` before it ends
from shared.edge.web import admit as admit  # asked by `localhost` before it reads a call
from train_timer_fn import bp as train_timer_bp
from ui_fn import bp as ui_bp
from work_fn import bp as work_bp

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(rank_bp)
app.register_functions(reward_bp)
app.register_functions(manage_bp)
app.register_functions(ui_bp)
app.register_functions(join_timer_bp)
app.register_functions(train_timer_bp)
app.register_functions(work_bp)
