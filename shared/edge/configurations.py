"""Turns configuration calls into a loop's settings and policy, and back (contract 3)."""

from __future__ import annotations

from dataclasses import replace

from shared.access.roles import Role
from shared.adoption import tried, with_policy
from shared.app import App
from shared.contract.configurations import SERVICE_CONFIGURATIONS, PolicyContract
from shared.contract.decoding import decode
from shared.contract.versions import Version
from shared.edge import apprentice
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.turn import turn
from shared.loops import policy, service
from shared.loops.policy import DEFAULT_ARGUMENTS
from shared.loops.settings import Loop


async def get_service_configuration(app: App, call: Call) -> Reply:
    """GET configurations/service: contract 3.1."""
    return await _service(app, call.loop, call)


async def put_service_configuration(app: App, call: Call) -> Reply:
    """PUT configurations/service: contract 3.1."""
    given = decode(call.body, SERVICE_CONFIGURATIONS[call.version])

    def change(loop: Loop) -> Loop:
        held = loop.configuration
        configuration = service.put(given, held, loop.multi_slot, loop.limits.longest_reward_wait)
        if configuration.exploration_percentage == held.exploration_percentage:
            return replace(loop, configuration=configuration)
        arguments = policy.with_exploration(loop.policy.arguments, configuration.exploration_percentage)
        return replace(loop, configuration=configuration, policy=policy.read(arguments))

    await _check_mirror(app, change(call.loop), call)
    return await _service(app, await app.loops.change(call.name, change), call)


async def _check_mirror(app: App, loop: Loop, call: Call) -> None:
    """See that the log's mirror can be written, before a change to it is kept."""
    changed, held = loop.configuration, call.loop.configuration
    if not changed.log_mirror_enabled:
        return
    if not held.log_mirror_enabled or changed.log_mirror_sas_uri != held.log_mirror_sas_uri:
        # The code had another name before 2022 (contract 2).
        code = "InvalidSasUri" if call.version is Version.V2022 else "InvalidContainer"
        await app.mirror.check(changed.log_mirror_sas_uri or "", code, app.clock.now())
    if not held.log_mirror_enabled:
        await app.mirror.begin(loop.id)


async def get_policy(app: App, call: Call) -> Reply:
    """GET configurations/policy: contract 3.2."""
    return _policy(call.loop)


async def put_policy(app: App, call: Call) -> Reply:
    """PUT configurations/policy: contract 3.2; a new model is built from the log."""
    given = decode(call.body, PolicyContract, "InvalidPolicyContract")
    return _policy(await adopt(app, call, given.arguments))


async def adopt(app: App, call: Call, arguments: str) -> Loop:
    """Try a policy, and make it the loop's; returns the loop.

    Raises:
        ApiError: InvalidPolicyConfiguration, ProblemTypeIncompatibleWithAutoOptimization, OperationNotAllowed.
    """
    learned = await tried(turn(app.trying), call.loop, arguments)
    return await app.loops.change(call.name, lambda loop: with_policy(loop, learned))


async def delete_policy(app: App, call: Call) -> Reply:
    """DELETE configurations/policy: back to the default of the policy's problem."""

    def change(loop: Loop) -> Loop:
        return with_policy(loop, policy.read(DEFAULT_ARGUMENTS[loop.policy.problem]))

    return _policy(await app.loops.change(call.name, change))


async def _service(app: App, loop: Loop, call: Call) -> Reply:
    shown = loop.configuration
    if not call.roles & Role.MANAGE:
        shown = replace(shown, log_mirror_sas_uri=None)  # who may only read is not given leave to write there
    metrics = await apprentice.metrics(app, loop) if call.version is Version.V2022 else None
    return reply_json(shown.to_api(call.version, loop.edited, metrics))


def _policy(loop: Loop) -> Reply:
    # The name is the loop's internal id, whatever a client called it (contract 3.2).
    return reply_json(PolicyContract(loop.id, loop.policy.arguments))
